#!/bin/sh
# Takes away all that is ours on a server, whatever is left of it (P7): brings the hostctl that does it along.
#
# stdin, a line each: ROOT; the Python interpreter (a path, or a name on PATH); SHA-256 of the zipapp; the zipapp in base64.
set -eu

refuse() {
    echo "hostctl's remover: $*" >&2
    exit 2
}

for name in root python digest; do
    IFS= read -r "${name?}" || refuse "stdin ends before its line '$name'"
done
# shellcheck disable=SC2154 # read just did
[ -n "$root" ] || refuse "no ROOT in the first line of stdin"
# shellcheck disable=SC2154
command -v "$python" >/dev/null || refuse "Python is missing here (no '$python'): install Python 3.8 or newer, for this too"

# shellcheck disable=SC2154
exec "$python" -I -c '
import base64, hashlib, os, subprocess, sys, tempfile

root, digest = sys.argv[1:]
packed = base64.b64decode(sys.stdin.buffer.readline().strip())
if hashlib.sha256(packed).hexdigest() != digest:
    sys.exit("hostctl remover: the zipapp arrived damaged: its SHA-256 is not %s" % digest)
with tempfile.TemporaryDirectory() as folder:
    archive = os.path.join(folder, "hostctl.pyz")
    with open(archive, "wb") as stream:
        stream.write(packed)
    command = [sys.executable, "-IS", archive, "--root", root, "remove-host"]
    code = subprocess.run(command, stdin=subprocess.DEVNULL).returncode
sys.exit(code)
' "$root" "$digest"
