# shellcheck shell=sh
# Source me (bash or zsh, from any folder) to type `pulumi` by hand:
#
#   . ./env.sh              for the stack local
#   STACK=tencent . ./env.sh     for another one; bring its passphrase yourself
#
# It puts uv (and a CLI that `make pulumi` installed) on PATH, makes the backend's folder, gives `local`, and nothing
# else, its well-known passphrase, and selects the stack. A typed `pulumi up` then works as `make up` does: it goes on
# after a failure, and opens no more connections at once than a server takes. What is set already stays.

_blockchain_env() {
    if [ -n "${BASH_VERSION:-}" ]; then
        # shellcheck disable=SC3028,SC3054 # bash only
        _be_file=${BASH_SOURCE[0]}
    elif [ -n "${ZSH_VERSION:-}" ]; then
        eval '_be_file=${(%):-%x}' # other shells can't even parse it
    else
        _be_file=./env.sh
    fi
    _be_root=$(cd "$(dirname "$_be_file")" >/dev/null && pwd)
    _be_stack=${STACK:-local}
    if [ ! -r "$_be_root/Pulumi.$_be_stack.yaml" ]; then
        echo "env.sh: there is no stack '$_be_stack' in $_be_root" >&2
        return 1
    fi
    "$_be_root/tools/bootstrap.sh" runtime || return 1
    _be_uv=$("$_be_root/tools/bootstrap.sh" uv) || return 1
    for _be_folder in "$_be_uv" "$_be_root/.uv/pulumi/bin"; do
        case ":$PATH:" in
            *":$_be_folder:"*) ;;
            *) [ ! -d "$_be_folder" ] || PATH="$_be_folder:$PATH" ;;
        esac
    done
    export PATH
    unset PYTHONDONTWRITEBYTECODE # without bytecode every run takes a second more
    mkdir -p "$_be_root/.state" || return 1
    if [ "$_be_stack" = local ]; then
        if [ -z "${PULUMI_CONFIG_PASSPHRASE+set}" ] && [ -z "${PULUMI_CONFIG_PASSPHRASE_FILE:-}" ]; then
            export PULUMI_CONFIG_PASSPHRASE=local-only
        fi
    else
        # Everybody knows local's: nothing that matters may be locked with it.
        [ "${PULUMI_CONFIG_PASSPHRASE:-}" != local-only ] || unset PULUMI_CONFIG_PASSPHRASE
        if [ -z "${PULUMI_CONFIG_PASSPHRASE+set}" ] && [ -z "${PULUMI_CONFIG_PASSPHRASE_FILE:-}" ]; then
            echo "env.sh: set PULUMI_CONFIG_PASSPHRASE_FILE (or PULUMI_CONFIG_PASSPHRASE) for $_be_stack, then source me again" >&2
            return 1
        fi
    fi
    if ! command -v pulumi >/dev/null; then
        echo "env.sh: no pulumi on PATH: \`make pulumi\` installs it, and \`make up\` works without" >&2
        return 1
    fi
    : "${PULUMI_CONTINUE_ON_ERROR:=true}"
    export PULUMI_CONTINUE_ON_ERROR
    if [ "$_be_stack" != local ]; then
        : "${PULUMI_PARALLEL:=8}" # LOGINS_AT_ONCE of tools/engine.py says why
        export PULUMI_PARALLEL
    fi
    _be_owner=$(cd "$_be_root" >/dev/null && .venv/bin/python -m standalone owner --stack "$_be_stack") || return 1
    if [ "$_be_owner" = standalone ]; then
        echo "env.sh: the stack $_be_stack is owned by standalone: \`make handover STACK=$_be_stack TO=pulumi\` first" >&2
        return 1
    fi
    pulumi -C "$_be_root" --non-interactive stack select --create "$_be_stack" >/dev/null || return 1
    echo "pulumi works on the stack $_be_stack, from $_be_root: pulumi up -s $_be_stack"
}
if _blockchain_env; then
    unset -f _blockchain_env
    unset _be_file _be_root _be_stack _be_uv _be_folder _be_owner
else
    unset -f _blockchain_env
    unset _be_file _be_root _be_stack _be_uv _be_folder _be_owner
    false
fi
