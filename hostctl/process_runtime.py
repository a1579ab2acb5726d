"""The runtime `process`: each service is an operating-system process under one supervisord (P1, P9)."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, cast

from hostctl import logs, ports, process_files
from hostctl.console import say
from hostctl.errors import HostctlError
from hostctl.forms import HostDefinition, ServiceDefinition
from hostctl.identity import Identity, alive
from hostctl.layout import Layout, file_identity, read_json, remove
from hostctl.paths import under
from hostctl.runtime import (
    FAILED,
    OLDER_SECRETS,
    OTHER_SETTINGS,
    RESTARTED,
    STARTED,
    UNCHANGED,
    Outcome,
    Process,
    Target,
)
from hostctl.supervisord import Supervisord, drop_link, gone

_STATES = {0: "stopped", 10: "starting", 20: "running", 30: "failed", 40: "stopped"}
_AT_REST = ("STOPPED", "EXITED", "FATAL", "UNKNOWN")
# supervisord itself kills after the grace period; this is for it to notice and say so.
STOP_MARGIN_SECONDS = 10.0
ORPHAN_GRACE_SECONDS = 10.0


class ProcessRuntime:
    """Implements `hostctl.runtime.Runtime`."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._daemon = Supervisord(layout)

    def host_problems(self, definition: HostDefinition) -> List[str]:
        """The header must be what the rest of this module relies on."""
        return process_files.header_problems(definition)

    def host_programs(self, definition: HostDefinition) -> List[str]:
        """The reloader, where something is to be reloaded."""
        return [process_files.RELOADER] if definition["reloader"] else []

    def service_problems(self, definition: ServiceDefinition) -> List[str]:
        """The program block must be this service's, and run what the definition says."""
        return process_files.block_problems(definition)

    def files_problem(self, texts: Mapping[str, str]) -> Optional[str]:
        """Whether supervisord would read the file."""
        return process_files.whole_problem(texts.get(process_files.FILE, ""))

    def host_differs(self, host: HostDefinition) -> str:
        """Nothing beside supervisord, whose absence `processes` tells."""
        return ""

    def start(self, host: HostDefinition, renew: bool = False) -> List[str]:
        """Starts supervisord, or with `renew` restarts one that has another header."""
        header = self._header(host)
        done: List[str] = []
        if self._daemon.answers():
            if not renew or self._daemon.header() == header:
                return done
            done.append("supervisord restarts: its own settings changed")
            self._daemon.end()
        elif self._daemon.identity() is not None:
            done.append("supervisord runs but does not answer; it is ended first")
            self._daemon.end()
        self._end_orphans(self._running_names())
        self._daemon.launch(under(host_base(self._layout), host["supervisord"]), header)
        done.append("supervisord started")
        return done

    def converge(
        self, wanted: Sequence[Target], unwanted: Sequence[Target], host: HostDefinition
    ) -> Dict[str, Outcome]:
        """Reloads once, then stops and starts only what was asked for."""
        if not wanted and not self._daemon.answers():
            self._end_orphans([target.name for target in unwanted])
            return {}
        for word in self.start(host):
            say(word)
        changes = self._daemon.reload()
        before = self._by_name()
        changed = [target for target in wanted if target.name in changes.changed]
        ill = [target for target in wanted if target not in changed and self._is_ill(target, before)]
        leaving = [target for target in unwanted if target.name in before]
        self._stop([*changed, *ill, *leaving])
        for target in [*changed, *leaving]:
            self._daemon.remove(target.name)
        outcomes: Dict[str, Outcome] = {}
        for target in wanted:
            if target not in changed and target not in ill:
                outcomes[target.name] = Outcome(UNCHANGED)
                continue
            if target.name in changes.added or target in changed:
                self._daemon.add(target.name)
            what = STARTED if _needs_start(before.get(target.name)) else RESTARTED
            outcomes[target.name] = self._start_one(target.name, what)
        return outcomes

    def rolls(self, definition: ServiceDefinition) -> bool:
        """Never: a process is stopped, then started."""
        return False

    def restart(self, targets: Sequence[Target]) -> Dict[str, Outcome]:
        """Stops all of them, then starts all of them."""
        self._stop(targets)
        return {target.name: self._start_one(target.name, RESTARTED) for target in targets}

    def stop_everything(self) -> None:
        """Ends supervisord with all that it runs, and what an earlier one left behind."""
        self._daemon.end()
        self._end_orphans(self._running_names())
        remove(self._layout.supervisord)
        drop_link(self._layout)

    def processes(self) -> Optional[Dict[str, Process]]:
        """Every program, by its name."""
        infos = self._daemon.processes()
        if infos is None:
            return None
        return {info["name"]: _process(info) for info in infos}

    def process(self, name: str) -> Optional[Process]:
        """One program."""
        return (self.processes() or {}).get(name)

    def strangers(self, wanted: Mapping[str, ServiceDefinition], leaving: Sequence[str]) -> Dict[str, List[str]]:
        """Processes that hold a wanted port and belong to none of the services that converging ends."""
        found = ports.listeners({port for definition in wanted.values() for port in definition["ports"]})
        if not found:
            return {}
        leaders = self._leaders([*wanted, *leaving])
        others = self.processes() or {}

        def moving(pid: int) -> bool:
            return any(ports.in_group(pid, leader) for leader in leaders)

        def name_of(pid: int) -> str:
            return next((name for name, process in others.items() if ports.in_group(pid, process.pid)), "")

        told = {name: ports.strangers(definition, found, moving, name_of) for name, definition in wanted.items()}
        return {name: sentences for name, sentences in told.items() if sentences}

    def own_data(self, definition: ServiceDefinition, folder: Path) -> None:
        """It runs as the same user as we do."""

    def differs(self, name: str, digest: str, process: Process) -> str:
        """Compares with what `launch` wrote down."""
        known = self._launched(name)
        if known is None or known["process"]["pid"] != process.pid:
            # A process that starts may not have come to write it down yet; it will read what is there then.
            return "" if process.state == "starting" else OTHER_SETTINGS
        if known["digest"] != digest:
            return OTHER_SETTINGS
        current = {owner: file_identity(self._layout, owner) for owner in known["secrets"]}
        return "" if current == known["secrets"] else OLDER_SECRETS

    def leftover(self, name: str) -> str:
        """Nothing: supervisord has one process of each program."""
        return ""

    def misnamed(self, name: str) -> str:
        """Never: supervisord calls each by its own name."""
        return ""

    def log_mark(self, name: str) -> List[int]:
        """Where the log ends now."""
        return logs.mark(self._layout.log(name))

    def log_tail(self, name: str, lines: int, mark: Optional[List[int]] = None) -> List[str]:
        """The last lines of the log."""
        return logs.tail(self._layout.log(name), lines, mark)

    def _leaders(self, names: Sequence[str]) -> List[int]:
        """The services' own pids; without a supervisord, all that a killed one left behind."""
        running = self.processes()
        if running is not None:
            return [running[name].pid for name in names if name in running]
        known = [self._launched(name) for name in self._running_names()]
        return [entry["process"]["pid"] for entry in known if entry and alive(entry["process"])]

    def _header(self, host: HostDefinition) -> str:
        import hashlib  # costs more than all else here, and few runs need it

        # The folder belongs to it: a supervisord of a folder that was moved looks for its files at the old place.
        settings = process_files.own_settings(host)
        text = "\0".join([settings, host["supervisord"], str(self._layout.root)])
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def _by_name(self) -> Dict[str, Dict[str, Any]]:
        return {info["name"]: info for info in self._daemon.processes() or []}

    def _is_ill(self, target: Target, infos: Mapping[str, Dict[str, Any]]) -> bool:
        """Whether it must be started (again) although its block did not change."""
        info = infos.get(target.name)
        if info is None or _needs_start(info):
            return True
        return bool(target.digest and self.differs(target.name, target.digest, _process(info)))

    def _start_one(self, name: str, what: str) -> Outcome:
        try:
            self._daemon.start(name)
        except HostctlError as error:
            return Outcome(FAILED, str(error))
        return Outcome(what)

    def _stop(self, targets: Sequence[Target]) -> None:
        for target in targets:
            self._daemon.stop(target.name)
        deadline = time.monotonic() + STOP_MARGIN_SECONDS
        deadline += max([target.grace_seconds for target in targets], default=0.0)
        left = {target.name for target in targets}
        while True:
            now = self._by_name()
            left = {name for name in left if name in now and now[name]["statename"] not in _AT_REST}
            if not left:
                return
            if time.monotonic() > deadline:
                raise HostctlError("%s can't be stopped" % ", ".join(sorted(left)))
            time.sleep(0.03)

    def _running_names(self) -> List[str]:
        return [path.stem for path in self._layout.running.glob("*.json") if path.name[0] != "."]

    def _launched(self, name: str) -> Optional[Dict[str, Any]]:
        return cast("Optional[Dict[str, Any]]", read_json(self._layout.running / (name + ".json")))

    def _end_orphans(self, names: Iterable[str]) -> None:
        """Ends services whose supervisord was killed: they hold the ports that the new ones need."""
        left: List[Identity] = []
        for name in names:
            known = self._launched(name)
            if known is not None and alive(known["process"]):
                left.append(known["process"])
                _signal_group(known["process"]["pid"], signal.SIGTERM)
        deadline = time.monotonic() + ORPHAN_GRACE_SECONDS
        for process in left:
            if not gone(process, max(0.0, deadline - time.monotonic())):
                _signal_group(process["pid"], signal.SIGKILL)
                gone(process, 5.0)


def host_base(layout: Layout) -> str:
    """BASE as the last `hostctl host` remembered it."""
    return str(read_json(layout.host)["base"])


def _needs_start(info: Optional[Dict[str, Any]]) -> bool:
    return info is None or info["statename"] not in ("RUNNING", "STARTING")


def _process(info: Dict[str, Any]) -> Process:
    state = _STATES.get(info["state"], "failed")
    detail = str(info["spawnerr"] or info["description"])
    if info["state"] == 100:
        detail = "exit status %d" % info["exitstatus"]
    elif info["state"] in (30, 200) and detail.startswith("Exited too quickly"):
        detail = "it exited right after its start"
    return Process(state, int(info["pid"]), detail)


def _signal_group(pid: int, number: int) -> None:
    try:
        if os.getpgid(pid) == pid:  # as supervisord makes them
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
    except OSError:
        pass
