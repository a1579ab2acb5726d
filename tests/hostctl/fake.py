"""A runtime in memory and processes that die on command, to crash a transaction at every one of its steps."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hostctl import (
    cli,
    compose_program,
    context,
    files,
    firewall,
    generations,
    health,
    host,
    lock,
    ports,
    queue,
    recovery,
    runtime,
    service,
    transaction,
)
from hostctl.context import Context
from hostctl.definitions import parse_host, parse_service
from hostctl.errors import RuntimeRefused
from hostctl.process_files import header_problems, whole_problem
from hostctl.runtime import FAILED, OTHER_SETTINGS, RESTARTED, STARTED, UNCHANGED, Outcome, Process
from tests.hostctl import samples

__all__ = ["Crash", "FakeHost", "cli", "health"]

BLOCK = re.compile(r"^\[program:(\S+)\]\ncommand=bin/hostctl launch \S+ (\S+)$", re.MULTILINE)


class Crash(BaseException):
    """SIGKILL: no handler of ours may do anything useful after it."""


class FakeRuntime:
    """Behaves as supervisord does: what runs changes only for those who were asked for."""

    def __init__(self, root: Path, step: Callable[[str], None]) -> None:
        self.root = root
        self.step = step
        self.running: dict[str, tuple[str, int]] = {}  # name -> digest, pid
        self.sick: set[str] = set()  # digests that never become healthy
        self.dying: set[str] = set()  # digests that end at once
        self.unreadable = ""  # a text that the real parser would refuse, and our checks don't know
        self.reloads = 0
        self.up = False
        self.stuck: set[str] = set()  # services that can be neither removed nor put back
        self.log: list[str] | Exception | None = None
        self.called_otherwise = ""  # what is wrong with everybody's name
        self._pid = 1000

    def host_problems(self, definition: Any) -> list[str]:
        return header_problems(definition)

    def host_programs(self, definition: Any) -> list[str]:
        return []

    def service_problems(self, definition: Any) -> list[str]:
        return []

    def files_problem(self, texts: Mapping[str, str]) -> str | None:
        return whole_problem(texts[samples.CONF])

    def start(self, host: Any, renew: bool = False) -> list[str]:
        if self.up:
            return []
        self.up = True
        return ["supervisord started"]

    def converge(self, wanted: Sequence[Any], unwanted: Sequence[Any], host: Any) -> dict[str, Outcome]:
        self.step("converge")
        text = (self.root / samples.CONF).read_text()
        if self.unreadable and self.unreadable in text:
            raise RuntimeRefused("the file can't be read")
        self.reloads += 1
        blocks = dict(BLOCK.findall(text))
        found: dict[str, Outcome] = {}
        for target in unwanted:
            if target.name in self.stuck:
                found[target.name] = Outcome(FAILED, f"{target.name} is stuck")
                continue
            self.running.pop(target.name, None)
            self.step(f"stopped {target.name}")
        for target in wanted:
            before = self.running.get(target.name)
            if before is not None and before[0] == blocks[target.name]:
                found[target.name] = Outcome(UNCHANGED)
                continue
            if target.name in self.stuck and before is not None:
                found[target.name] = Outcome(FAILED, f"{target.name} is stuck")
                continue
            self.running.pop(target.name, None)
            self.step(f"between the old and the new {target.name}")
            self._start(target.name, blocks[target.name])
            found[target.name] = Outcome(RESTARTED if before else STARTED)
            self.step(f"started {target.name}")
        return found

    def rolls(self, definition: Any) -> bool:
        return False

    def restart(self, targets: Sequence[Any]) -> dict[str, Outcome]:
        found: dict[str, Outcome] = {}
        for target in targets:
            if target.name in self.stuck:
                found[target.name] = Outcome(FAILED, f"{target.name} is stuck")
            else:
                self._start(target.name, self.running[target.name][0])
                found[target.name] = Outcome(RESTARTED)
        return found

    def stop_everything(self) -> None:
        self.running.clear()
        self.up = False

    def processes(self) -> dict[str, Process] | None:
        if not self.up:
            return None
        return {
            name: Process("failed" if digest in self.dying else "running", pid, "exit status 3")
            for name, (digest, pid) in self.running.items()
        }

    def process(self, name: str) -> Process | None:
        return (self.processes() or {}).get(name)

    def strangers(self, wanted: Any, leaving: Sequence[str]) -> dict[str, list[str]]:
        return {}

    def own_data(self, definition: Any, folder: Path) -> None: ...

    def host_differs(self, host: Any) -> str:
        return ""

    def differs(self, name: str, digest: str, process: Process) -> str:
        return "" if self.running[name][0] == digest else OTHER_SETTINGS

    def misnamed(self, name: str) -> str:
        return self.called_otherwise

    def leftover(self, name: str) -> str:
        return ""

    def log_mark(self, name: str) -> list[int]:
        return [0, 0]

    def log_tail(self, name: str, lines: int, mark: list[int] | None = None) -> list[str]:
        if isinstance(self.log, Exception):
            raise self.log
        return [f"the last line of {name}"] if self.log is None else self.log

    def healthy(self, port: int) -> bool:
        """Whether what listens there answers 200."""
        return not any(digest in self.sick for digest, _ in self.running.values() if f"{port}" in self.ports[digest])

    def _start(self, name: str, digest: str) -> None:
        self._pid += 1
        self.running[name] = (digest, self._pid)

    ports: ClassVar[dict[str, str]] = {}  # digest -> the port that it is healthy on


class FakeHost:
    """One host under test, with runs that may crash."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.runtime = FakeRuntime(root, self.step)
        self.living: set[int] = set()
        self.pid = 0
        self.steps: list[str] = []
        self.crash_at: int | None = None
        self.full_disk = False
        self._patch(monkeypatch)

    def step(self, what: str) -> None:
        if self.crash_at is not None and len(self.steps) >= self.crash_at:
            # It stays so until the run has ended: a full disk does not empty itself, and the dead stay dead.
            raise OSError(errno.ENOSPC, "No space left on device", what) if self.full_disk else Crash(what)
        self.steps.append(what)

    def context(self, verb: str = "test") -> Context:
        """A run of its own, with a pid of its own."""
        self.pid += 1
        self.living.add(self.pid)
        made = Context(str(self.root), verb)
        made.me = {"pid": self.pid, "start": "1", "boot": "fake"}
        return made

    def host(self) -> None:
        run = self.context("host")
        host.converge(run, parse_host(samples.raw(samples.host())), None)

    def up(self, definition: dict[str, Any], observed: str | None = None, crash_at: int | None = None) -> Any:
        parsed = parse_service(samples.raw(definition), definition["name"])
        return self.act(lambda run: service.up(run, parsed, observed), crash_at)

    def down(self, name: str, crash_at: int | None = None) -> Any:
        return self.act(lambda run: service.down(run, name), crash_at)

    def act(self, verb: Callable[[Context], Any], crash_at: int | None = None) -> Any:
        """One run to its end, or to its crash (the answer is None then)."""
        self.steps, self.crash_at = [], crash_at
        run = self.context()
        me = self.pid
        try:
            try:
                return verb(run)
            finally:
                recovery.finish(run)
        except (Crash, OSError):
            return None
        finally:
            self.living.discard(me)
            self.crash_at = None

    def record(self, name: str) -> Any:
        return generations.Store(context.Layout(str(self.root))).record(name)

    def assert_sound(self) -> None:
        """Nothing half-way: no change pending, files as they should be, and that is what runs."""
        run = self.context()
        self.living.discard(self.pid)
        for name in run.store.names():
            record = run.store.record(name)
            assert record is not None
            assert record["pending"] is None, f"{name} is still pending"
        wanted = run.store.wanted()
        assert files.present(run) == files.expected(run)
        assert {name: digest for name, (digest, _) in self.runtime.running.items()} == {
            name: definition["digest"] for name, definition in wanted.items()
        }
        assert [path.name for path in run.layout.queue.glob("[0-9]*")] == []
        assert {path.name for path in run.layout.definitions.iterdir()} == set(wanted)

    def _patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def alive(identity: Any) -> bool:
            return identity["pid"] in self.living

        def probe(url: str, timeout: float) -> str:
            port = int(url.split(":")[2].split("/")[0])
            return "" if self.runtime.healthy(port) else f"{url} answers HTTP 503"

        for module in (generations, queue):
            monkeypatch.setattr(module, "alive", alive)
        monkeypatch.setattr(health, "probe", probe)
        monkeypatch.setattr(health, "POLL_SECONDS", 0.0)
        monkeypatch.setattr(transaction, "WINDOW_SECONDS", 0.0)
        monkeypatch.setattr(lock, "POLL_SECONDS", 0.0)
        monkeypatch.setattr(service, "POLL_SECONDS", 0.0)
        monkeypatch.setattr(runtime, "_RUNTIMES", {"process": lambda layout, lock, stopped: self.runtime})
        monkeypatch.setattr(ports, "listeners", lambda wanted: [])
        monkeypatch.setattr(os, "fsync", lambda descriptor: None)
        for name in ("replace", "rename", "unlink"):
            real = getattr(os, name)
            monkeypatch.setattr(os, name, self._stepping(name, real))

    def _stepping(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def act(*words: Any, **options: Any) -> Any:
            if str(words[0]).startswith(str(self.root)):
                self.step(f"{name} {Path(str(words[-1])).name}")
            return real(*words, **options)

        return act


def removable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """A converged host that may be removed as a whole: nothing of this machine's own goes with it."""
    monkeypatch.setattr(firewall, "remove", lambda layout: [])
    monkeypatch.setattr(compose_program, "SHIM", str(folder / "no-shim"))
    made = FakeHost(folder / "root", monkeypatch)
    made.host()
    return made
