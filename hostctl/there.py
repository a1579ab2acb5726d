"""What the control machine asks of a server over one ssh connection of its own:

    python -m hostctl.there install HOST PORT USER HOST_KEY ROOT DIGEST [LABEL]     stdin: the host's definition
    python -m hostctl.there observe HOST PORT USER HOST_KEY ROOT                    stdin: see the verb `observe`
    python -m hostctl.there remove HOST PORT USER HOST_KEY ROOT

`install` packs hostctl from its sources and runs the same `install.sh` as on a laptop: the command that Pulumi keeps
and shows names the zipapp's digest instead of carrying it (docs/decisions/0014). `remove` brings hostctl along too: it
takes everything away whatever is left of it. `observe` always prints one line of JSON: a host that can't be asked
answers `{"unreachable": "why"}`; one without hostctl `{"bare": true}`; one whose hostctl can't answer the same with
`"why"`, so that an `up` installs it anew.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any, Dict, List, Optional, cast

from hostctl import pack

OVER_SSH = "components/scripts/over-ssh.sh"
CONNECT_SECONDS = 10
OBSERVE_SECONDS = 60.0
END_SECONDS = 2.0
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


def remove(server: List[str], root: str) -> int:
    """Takes everything of ours away from a server, with the hostctl of these sources; the exit code."""
    bundle = pack.bundle()
    lines = [root, "python3", bundle.digest, bundle.payload]
    argv = ["sh", OVER_SSH, *server, (pack.HERE / "remove.sh").read_text(encoding="utf-8")]
    return subprocess.run(argv, input="\n".join(lines) + "\n", text=True, check=False).returncode


def observe(server: List[str], root: str, question: str) -> Dict[str, Any]:
    """The host's answer, or why there is none."""
    wrapper = shlex.quote(root + "/bin/hostctl")
    ask = "if [ -x %s ]; then exec %s observe; else echo %s; fi" % (wrapper, wrapper, shlex.quote(_BARE))
    argv = ["sh", OVER_SSH, *server, ask, str(CONNECT_SECONDS)]
    done = _ask(argv, question)
    if done is None:
        return {"unreachable": "it gave no answer within %g s" % OBSERVE_SECONDS}
    said = " ".join(done.stderr.split()) or "exit code %d" % done.returncode
    if done.returncode == _NO_CONNECTION:
        return {"unreachable": next((better for word, better in _BETTER.items() if word in said), said)}
    if done.returncode != 0:
        return {"bare": True, "why": "hostctl observe failed: " + said}
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        return {"bare": True, "why": "what answered is not hostctl: %s" % (done.stdout[:100].strip() or said)}
    return cast("Dict[str, Any]", answer)


def _ask(argv: List[str], question: str) -> "Optional[subprocess.CompletedProcess[str]]":
    """Runs it with all that it starts in a group of its own; None when it took too long, and nothing of it is left."""
    asked = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        out, err = asked.communicate(question, OBSERVE_SECONDS)
    except BaseException as error:
        _end(asked)
        if isinstance(error, subprocess.TimeoutExpired):
            return None
        raise
    return subprocess.CompletedProcess(argv, asked.returncode, out, err)


def _end(asked: "subprocess.Popen[str]") -> None:
    """The polite way first: the script takes its file with the host key away when it ends by itself."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(asked.pid, number)
        with suppress(subprocess.TimeoutExpired):
            asked.communicate(timeout=END_SECONDS)
            return


def _stop(*_: object) -> None:
    """What was started in a group of its own must not outlive us."""
    sys.exit(128 + signal.SIGTERM)


def main(arguments: List[str]) -> int:
    """The command line; 2 when it is wrong."""
    verb, rest = (arguments[0] if arguments else ""), arguments[1:]
    if verb == "install" and len(rest) in (6, 7):
        return install(rest[:4], rest[4], rest[5], rest[6:], sys.stdin.read())
    if verb == "remove" and len(rest) == 5:
        return remove(rest[:4], rest[4])
    if verb == "observe" and len(rest) == 5:
        signal.signal(signal.SIGTERM, _stop)
        print(json.dumps(observe(rest[:4], rest[4], sys.stdin.read()), sort_keys=True))
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
