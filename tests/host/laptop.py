"""A host of the runtime `process` in a folder of its own, with a real supervisord that is always cleaned up."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.hostctl import samples
from tests.ports import free_ports as free_ports

REPOSITORY = Path(__file__).resolve().parents[2]
SUPERVISORD = Path(sys.executable).parent / "supervisord"
TINY = REPOSITORY / "tests/host/services/tiny.py"
DEADLINE = 60.0

WRAPPER = """#!/bin/sh
PYTHONPATH={repository} exec {python} -S -m hostctl --root {root} "$@"
"""


class Laptop:
    """BASE with ROOT `.local` in it; hostctl runs from source."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.root = base / ".local"
        self.wrapper = self.root / "bin/hostctl"
        self.environment = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}

    def make(self) -> Laptop:
        """The folder and a wrapper, as the installer would."""
        self.wrapper.parent.mkdir(parents=True, exist_ok=True)
        words = {"repository": REPOSITORY, "python": sys.executable, "root": self.root}
        self.wrapper.write_text(WRAPPER.format(**{key: quote(str(value)) for key, value in words.items()}))
        self.wrapper.chmod(0o755)
        return self

    def command(self, *words: str) -> list[str]:
        return [str(self.wrapper), *words]

    def run(self, *words: str, stdin: Any = None, fails: int | None = 0) -> subprocess.CompletedProcess[str]:
        """One verb, to its end; `fails` is the exit code that it must have (None: any)."""
        done = subprocess.run(
            self.command(*words),
            cwd=self.base,
            env=self.environment,
            input="" if stdin is None else json.dumps(stdin),
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert fails is None or done.returncode == fails, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def begin(self, *words: str, stdin: Any = None, **options: Any) -> subprocess.Popen[str]:
        """One verb, not waited for."""
        process = subprocess.Popen(
            self.command(*words),
            cwd=self.base,
            env=self.environment,
            stdin=subprocess.PIPE,
            **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options),
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(stdin))
        process.stdin.close()
        process.stdin = None
        return process

    def host(self, observed: str | None = None, **changes: Any) -> dict[str, Any]:
        definition = samples.host(str(SUPERVISORD), **changes)
        words = [] if observed is None else ["--observed", observed]
        return json.loads(self.run("host", *words, stdin=definition).stdout)

    def service(self, name: str, port: int, mode: str = "ok", **changes: Any) -> dict[str, Any]:
        env = {"MODE": mode} | changes.pop("env", {})
        argv = changes.pop("argv", [sys.executable, "-IS", str(TINY)])
        return samples.service(name, port, argv=argv, env=env, **changes)

    def up(self, definition: dict[str, Any], *words: str, fails: int | None = 0) -> subprocess.CompletedProcess[str]:
        return self.run("up", definition["name"], *words, stdin=definition, fails=fails)

    def observe(self, **question: Any) -> dict[str, Any]:
        """The answer, with the word for what never converged (it has the time in it) as ABSENT."""
        text = self.run("observe", stdin=question or None).stdout
        absent = json.loads(text)["absent"]
        assert absent.startswith("not converged yet (asked 20")
        answer = json.loads(text.replace(absent, "ABSENT"))
        for key in ("absent", "adopts", "now", "integrations", "secrets"):
            del answer[key]
        return answer

    def status(self) -> dict[str, Any]:
        return json.loads(self.run("status", "--json", fails=None).stdout)["services"]

    def pids(self) -> dict[str, int]:
        return {name: entry["pid"] for name, entry in self.status().items()}

    def supervisord(self) -> int:
        return int((self.root / "run/supervisord.pid").read_text())

    def audit(self, verb: str = "") -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in (self.root / "state/audit.log").read_text().splitlines()]
        return [line for line in lines if not verb or line["verb"] == verb]

    def text(self, name: str) -> str:
        return (self.root / name).read_text()

    def clean_up(self) -> None:
        """Leaves no process behind, whatever a test did to this host."""
        if self.wrapper.exists():
            self.run("remove-host", fails=None)
        for pid in [*self.leftovers()]:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    @contextlib.contextmanager
    def locked_until(self, waiting: int) -> Iterator[None]:
        """Holds the host's lock until so many requests wait for it: they then are one group for sure."""
        with (self.root / "state/lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
            wait_for(lambda: len(list((self.root / "state/queue").glob("[0-9]*.json"))) == waiting)

    def leftovers(self) -> Iterator[int]:
        """Living processes that were started out of this folder."""
        marks = (os.fsencode(str(self.root)), os.fsencode(str(self.base)))
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                if entry.name != str(os.getpid()) and any(mark in told for mark in marks):
                    yield int(entry.name)


def quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def ask(port: int) -> dict[str, Any]:
    """What the tiny service says about itself."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
        return json.loads(answer.read())


def wait_for(what: Callable[[], Any], seconds: float = DEADLINE, every: float = 0.05) -> Any:
    """Until it is true, with a deadline."""
    end = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(every)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    return True


def converged(base: Path, *label: str) -> Iterator[Laptop]:
    """For a fixture: a laptop whose host has converged, adopting a label where one is given; nothing of it is left."""
    made = Laptop(base).make()
    try:
        made.host(*label)
        yield made
    finally:
        made.clean_up()
    assert list(made.leftovers()) == []
