#!/bin/sh
# Runs a command on a server: over-ssh.sh HOST PORT USER HOST_KEY COMMAND [SECONDS]
#
# Trusts exactly the pinned HOST_KEY (a line such as "ssh-ed25519 AAAA…") and nothing that lies in ~/.ssh; the user's key
# comes from the ssh-agent. stdin, stdout and stderr are the command's; so is the exit code, but 255 is the connection's:
# a line on stderr says why. With SECONDS, a server that doesn't take the connection in that time counts as not there.
set -eu
[ $# -ge 5 ] || { echo "usage: over-ssh.sh HOST PORT USER HOST_KEY COMMAND [SECONDS]" >&2; exit 2; }
host=$1 port=$2 user=$3 key=$4 command=$5 seconds=${6:-15}

refuse() {
    echo "error: $*" >&2
    exit 255
}
[ -n "$key" ] || refuse "no host key is pinned for $host: any machine could pose as it; \`make trust\` shows and pins it"
command -v ssh >/dev/null || refuse "there is no ssh on PATH (Debian/Ubuntu: apt-get install openssh-client)"
[ -S "${SSH_AUTH_SOCK:-}" ] || refuse "no ssh-agent (SSH_AUTH_SOCK): eval \$(ssh-agent); ssh-add, or make … SSH_KEY_FILE=…"

known=$(mktemp)
trap 'rm -f "$known"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# The alias makes the line the same for every address and port.
printf 'pinned %s\n' "$key" >"$known"
status=0
ssh -F none -T -p "$port" -l "$user" \
    -o BatchMode=yes -o StrictHostKeyChecking=yes -o HostKeyAlias=pinned \
    -o UserKnownHostsFile="$known" -o GlobalKnownHostsFile=/dev/null -o UpdateHostKeys=no \
    -o HostKeyAlgorithms="$(printf '%s' "$key" | sed 's/ .*//; s/^ssh-rsa$/rsa-sha2-512,rsa-sha2-256/')" \
    -o PasswordAuthentication=no -o KbdInteractiveAuthentication=no -o IdentityFile=none -o ControlPath=none \
    -o ConnectTimeout="$seconds" -o ServerAliveInterval=15 -o ServerAliveCountMax=8 -o LogLevel=ERROR \
    -- "$host" "$command" || status=$?
exit "$status"
