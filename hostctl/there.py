"""What the control machine asks of a server over one ssh connection of its own:

    python -m hostctl.there install HOST PORT USER HOST_KEY ROOT DIGEST [LABEL]     stdin: the host's definition
    python -m hostctl.there observe HOST PORT USER HOST_KEY ROOT                    stdin: see the verb `observe`

`install` packs hostctl from its sources and runs the same `install.sh` as on a laptop: the command that Pulumi keeps
and shows names the zipapp's digest instead of carrying it (docs/decisions/0014). `observe` always prints one line of
JSON: a host that can't be asked answers `{"unreachable": "why"}`, one without hostctl `{"bare": true}`.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from typing import Any, Dict, List

from hostctl import pack

OVER_SSH = "components/scripts/over-ssh.sh"
CONNECT_SECONDS = 10
OBSERVE_SECONDS = 60
_BARE = '{"bare": true}'
_NO_CONNECTION = 255
_ANOTHER_KEY = (
    "it shows another host key than the pinned one: is it the right machine? If it was installed anew, `make trust` "
    "shows and pins its new key"
)
# What ssh says, and what that means here.
_BETTER = {
    "Host key verification failed": _ANOTHER_KEY,
    "no matching host key type": _ANOTHER_KEY,
    "Permission denied": "it refuses the login: does the agent hold the right key (`ssh-add -l`), is host.user right?",
}


def install(server: List[str], root: str, digest: str, label: List[str], definition: str) -> int:
    """Puts hostctl in place on a server and converges the host with it; the exit code."""
    bundle = pack.bundle()
    if bundle.digest != digest:
        print("hostctl's sources changed while this ran (%s): run it again" % bundle.digest, file=sys.stderr)
        return 2
    # The label as the script's first argument, as `sh -c script name label` would hand it over.
    script = "set -- %s\n%s" % (shlex.quote(label[0]), bundle.script) if label else bundle.script
    lines = [root, "python3", digest, bundle.payload, definition.strip()]
    done = subprocess.run(["sh", OVER_SSH, *server, script], input="\n".join(lines) + "\n", text=True, check=False)
    return done.returncode


def observe(server: List[str], root: str, question: str) -> Dict[str, Any]:
    """The host's answer, or why there is none."""
    wrapper = shlex.quote(root + "/bin/hostctl")
    ask = "if [ -x %s ]; then exec %s observe; else echo %s; fi" % (wrapper, wrapper, shlex.quote(_BARE))
    argv = ["sh", OVER_SSH, *server, ask, str(CONNECT_SECONDS)]
    try:
        done = subprocess.run(
            argv, input=question, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            timeout=OBSERVE_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"unreachable": "it gave no answer within %d s" % OBSERVE_SECONDS}
    said = " ".join(done.stderr.split()) or "exit code %d" % done.returncode
    if done.returncode == _NO_CONNECTION:
        return {"unreachable": next((better for word, better in _BETTER.items() if word in said), said)}
    if done.returncode != 0:
        return {"unreachable": "hostctl observe failed: " + said}
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        return {"unreachable": "what answered is not hostctl: %s" % (done.stdout[:100].strip() or said)}
    return answer


def main(arguments: List[str]) -> int:
    """The command line; 2 when it is wrong."""
    verb, rest = (arguments[0] if arguments else ""), arguments[1:]
    if verb == "install" and len(rest) in (6, 7):
        return install(rest[:4], rest[4], rest[5], rest[6:], sys.stdin.read())
    if verb == "observe" and len(rest) == 5:
        print(json.dumps(observe(rest[:4], rest[4], sys.stdin.read()), sort_keys=True))
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
