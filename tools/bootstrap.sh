#!/bin/sh
# Makes .venv what uv.lock says. An up-to-date one costs a checksum and no Python (some 5 ms).
#
#   tools/bootstrap.sh runtime   what `make up` needs
#   tools/bootstrap.sh dev       the same and the workshop's tools (tests, lint, types)
#   tools/bootstrap.sh uv        prints the folder of a uv that is new enough, after getting one if need be
#   tools/bootstrap.sh python    prints the first system Python that is new enough
set -eu
umask 022
cd "$(dirname "$0")/.."

tool=.uv/tool    # our own uv
lock=.uv/lock    # a symbolic link whose target is the holder's pid: made in one step, holder and all
held=
unset PYTHONDONTWRITEBYTECODE VIRTUAL_ENV PYTHONHOME # so that uv compiles, and into our .venv

die() {
    [ -z "$held" ] || rm -f "$lock"
    printf 'error: %s\n' "$1" >&2
    shift
    for cure in "$@"; do printf '  cure: %s\n' "$cure" >&2; done
    exit 1
}

find_python() {
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        # A name on PATH may be a shim without a Python behind it: only running it tells.
        if "$name" -c 'import sys; sys.version_info < (3, 11) and sys.exit(1); print(sys.executable)' 2>/dev/null; then
            return 0
        fi
    done
    found=$(python3 --version 2>&1) || found="no python3"
    die "Python 3.11 or newer is needed; PATH has $found" \
        "Debian/Ubuntu: apt-get install python3 python3-venv" "macOS: brew install python@3.13"
}

uv_pin() { sed -n 's/^required-version = ">=\([0-9.]*\)".*/\1/p' pyproject.toml; }

# new_enough 0.13.10 0.13.9
new_enough() {
    # shellcheck disable=SC2086 # split at the dots on purpose
    (IFS=.; set -- $1 $2; [ $# -eq 6 ] || exit 1
     [ "$1" -gt "$4" ] || { [ "$1" -eq "$4" ] && { [ "$2" -gt "$5" ] || { [ "$2" -eq "$5" ] && [ "$3" -ge "$6" ]; }; }; })
}

uv_version() { "$1" --version 2>/dev/null | sed -n 's/^uv \([0-9]*\.[0-9]*\.[0-9]*\).*/\1/p'; }

# Sets $uv: the one on PATH when it is new enough, else ours, from PyPI.
find_uv() {
    pin=$(uv_pin)
    uv=$(command -v uv) || uv=
    if [ -n "$uv" ] && new_enough "$(uv_version "$uv")" "$pin"; then return 0; fi
    uv=$PWD/$tool/bin/uv
    if new_enough "$(uv_version "$uv")" "$pin"; then return 0; fi
    python=$(find_python)
    echo "uv $pin: from PyPI into $tool" >&2
    rm -rf "$tool" # whatever an interrupted install left
    if "$python" -c 'import ensurepip, venv' 2>/dev/null && "$python" -m venv "$tool" >/dev/null 2>&1; then
        "$tool/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$pin" >&2 || uv=
    elif "$python" -m pip --version >/dev/null 2>&1; then # Debian without python3-venv
        rm -rf "$tool"
        "$python" -m pip install --quiet --disable-pip-version-check --target "$tool" "uv==$pin" >&2 || uv=
    else
        rm -rf "$tool"
        die "$python has neither venv nor pip to install uv $pin with" \
            "Debian/Ubuntu: apt-get install python3-venv" "or put uv $pin or newer on PATH"
    fi
    if [ -z "$uv" ] || ! new_enough "$(uv_version "$uv")" "$pin"; then
        rm -rf "$tool"
        die "uv $pin could not be installed from PyPI (its own words are above)" \
            "check the network and pip's settings (proxy, index), then run the same command again" \
            "or put uv $pin or newer on PATH"
    fi
}

# One install at a time. A lock whose holder is dead is an install that was cut short: begin that .venv afresh.
take_lock() {
    mkdir -p .uv
    tries=0
    until ln -s "$$" "$lock" 2>/dev/null; do
        holder=$(readlink "$lock") || continue
        if ! kill -0 "$holder" 2>/dev/null; then
            echo "an earlier install was cut short: starting .venv afresh" >&2
            rm -rf .venv
            rm -f "$lock"
            continue
        fi
        [ "$tries" -gt 0 ] || echo "waiting for another install (process $holder)" >&2
        tries=$((tries + 1))
        [ "$tries" -le 600 ] || die "process $holder holds $PWD/$lock for 10 minutes" "if it is no install: rm $lock"
        sleep 1
    done
    held=yes
}

# Where .venv stands and which Python it runs: when these change it must be made afresh (its scripts name them).
place() { printf '%s %s\n' "$PWD" "$(readlink -f .venv/bin/python 2>/dev/null || :)"; }
wanted() { place; cksum uv.lock pyproject.toml; }
fresh() { [ -x .venv/bin/python ] && [ -r ".venv/.synced-$1" ] && [ "$(wanted)" = "$(cat ".venv/.synced-$1")" ]; }

sync() {
    # A workshop stays one: `make up` after `make test` must not throw the tools away again.
    [ ! -e .venv/.synced-dev ] || set -- dev
    if [ "$1" = dev ]; then groups=; else groups=--no-dev; fi
    find_uv
    python=.venv/bin/python
    for stamp in .venv/.synced-*; do
        if [ -r "$stamp" ] && [ "$(head -n 1 "$stamp")" != "$(place)" ]; then
            echo ".venv was made for another folder or Python: making it afresh" >&2
            rm -rf .venv
        fi
    done
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        rm -rf .venv # none, or a broken one, which uv refuses to touch
        python=$(find_python)
    fi
    echo "installing what uv.lock says ($1)" >&2
    # shellcheck disable=SC2086 # no group is no argument
    # Who told pip about a company's certificate means uv as well, which reads another variable.
    if [ -n "${PIP_CERT:-}" ] && [ -z "${SSL_CERT_FILE:-}" ]; then
        export SSL_CERT_FILE="$PIP_CERT"
    fi
    UV_PYTHON_DOWNLOADS=never "$uv" sync --frozen --compile-bytecode --quiet $groups --python "$python" || {
        # Cut short by a signal: the lock stays, the next run begins afresh. Refused (no network): nothing is broken.
        [ $? -le 128 ] || held=
        die "uv could not install what uv.lock says (its own words are above)" \
            "check the network and uv's settings (proxy, index), then run the same command again"
    }
    wanted >.venv/.synced-runtime
    [ "$1" != dev ] || wanted >.venv/.synced-dev
}

case ${1:-} in
    runtime | dev)
        fresh "$1" && exit 0
        take_lock
        if ! fresh "$1"; then sync "$1"; fi # unless another install has just done it
        rm -f "$lock"
        ;;
    uv)
        find_uv
        dirname "$uv"
        ;;
    python) find_python ;;
    *) die "usage: tools/bootstrap.sh runtime|dev|uv|python" ;;
esac
