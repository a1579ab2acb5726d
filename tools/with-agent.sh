#!/bin/sh
# Runs a command under an ssh-agent of its own that holds the key SSH_KEY_FILE; without that variable, just runs it.
# The agent is the command's parent: it goes when the command does, whatever ended it (SIGKILL too, within 10 s).
set -eu

if [ "${1:-}" = --inside ]; then
    shift
    trap 'kill "$SSH_AGENT_PID" 2>/dev/null' EXIT # at once, not at the agent's next look
    trap 'exit 130' INT
    trap 'exit 143' TERM
    ssh-add -q "$SSH_KEY_FILE" || {
        echo "error: ssh-add can't use SSH_KEY_FILE=$SSH_KEY_FILE (its own words are above)" >&2
        exit 1
    }
    status=0
    "$@" || status=$?
    exit "$status"
fi

[ -n "${SSH_KEY_FILE:-}" ] || exec "$@"
# `make SSH_KEY_FILE=~/.ssh/id` reaches us unexpanded.
# shellcheck disable=SC2088 # the tilde is looked for, not expanded
case $SSH_KEY_FILE in "~/"*) SSH_KEY_FILE=$HOME/${SSH_KEY_FILE#??} ;; esac
[ -r "$SSH_KEY_FILE" ] || {
    echo "error: SSH_KEY_FILE=$SSH_KEY_FILE can't be read" >&2
    exit 1
}
command -v ssh-agent >/dev/null || {
    echo "error: SSH_KEY_FILE is set, but there is no ssh-agent on PATH (Debian/Ubuntu: apt-get install openssh-client)" >&2
    exit 1
}
export SSH_KEY_FILE
exec ssh-agent "$0" --inside "$@"
