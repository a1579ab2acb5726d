#!/bin/sh
# Puts hostctl in place and converges the host with it (P7). Idempotent; run on a laptop and over SSH alike.
#
# stdin, a line each: ROOT; the Python interpreter (a path, or a name on PATH); SHA-256 of the zipapp;
# the zipapp in base64; the host's definition as JSON. ROOT may be relative.
# $1, where given: the observed label that the host adopts.
#
# Decoding, checking and writing are Python's: every host has it, while base64, sha256sum and mktemp differ.
set -eu

refuse() {
    echo "hostctl's installer: $*" >&2
    exit 2
}

for name in root python digest; do
    IFS= read -r "${name?}" || refuse "stdin ends before its line '$name'"
done
# shellcheck disable=SC2154 # read just did
[ -n "$root" ] || refuse "no ROOT in the first line of stdin"
# shellcheck disable=SC2154
case $python in
"") refuse "no Python interpreter in the second line of stdin" ;;
*/*) [ -x "$python" ] || refuse "there is no program $python" ;;
*)
    found=$(command -v "$python") || refuse "Python is missing here (no '$python' on PATH): install Python 3.8 or newer"
    python=$found
    ;;
esac
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 8))' || refuse "$python is no Python 3.8 or newer"

# shellcheck disable=SC2154
exec "$python" -I -c '
import base64, binascii, hashlib, os, pathlib, shlex, subprocess, sys

root, python, digest, observed = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3], sys.argv[4:]


def refuse(reason):
    sys.stderr.write("hostctl installer: %s\n" % reason)
    sys.exit(2)


def write(path, data, mode):
    temporary = path.with_name(".%s.tmp-%d" % (path.name, os.getpid()))
    try:
        with open(str(temporary), "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(str(temporary), str(path))
    except OSError as error:
        refuse("%s: %s" % (path, error.strerror))


payload, definition = sys.stdin.buffer.readline(), sys.stdin.buffer.read()
try:
    packed = base64.b64decode(payload.strip(), validate=True)
except binascii.Error:
    refuse("the fourth line of stdin is not base64")
if hashlib.sha256(packed).hexdigest() != digest:
    refuse("the zipapp arrived damaged: its SHA-256 is not %s" % digest)
if not definition.strip():
    refuse("no definition of the host in the fifth line of stdin")
lib, bin = pathlib.Path(root, "lib"), pathlib.Path(root, "bin")
os.umask(0o022)
for folder in (lib, bin):
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        refuse("%s: %s" % (folder, error.strerror))
archive = lib / ("hostctl-%s.pyz" % digest[:16])
try:
    there = archive.read_bytes() == packed
except OSError:
    there = False
if not there:
    write(archive, packed, 0o644)
words = [python, "-IS", str(archive), "--root", root]
wrapper = "#!/bin/sh\nexec %s \"$@\"\n" % " ".join(map(shlex.quote, words))
write(bin / "hostctl", wrapper.encode("utf-8", "surrogateescape"), 0o755)
# The one before stays: a run of it may be under way, and reads more of it when it needs more.
older = sorted((path for path in lib.glob("hostctl-*.pyz") if path != archive), key=lambda path: path.stat().st_mtime)
for path in older[:-1]:
    path.unlink()
command = [str(bin / "hostctl"), "host"] + (["--observed", observed[0]] if observed else [])
sys.exit(subprocess.run(command, input=definition).returncode)
' "$root" "$python" "$digest" "$@"
