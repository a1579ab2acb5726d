"""The verb `observe`: labels of what is, for previews (design: "Drift that a preview can see").

It takes no lock and changes nothing. While all is as `hostctl` left it, a label is the one adopted last;
after a change by hand it says what differs, in words that stay the same until something else happens.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import Any, Dict, List, Mapping, Optional, Sequence

from hostctl import client, docker_api, files, firewall, health, images, integrations, registry, secretfiles
from hostctl.compose_files import STACK
from hostctl.context import Context
from hostctl.forms import DatabaseDefinition, HostFile, ObserveInput, ServiceDefinition
from hostctl.generations import Record, busy
from hostctl.labels import NOT_YET, SEPARATOR, label_of
from hostctl.redact import Unreadable, read_secrets
from hostctl.runtime import Process

_HEALTH_SECONDS = 1.0
_KNOCK_SECONDS = 2.0
Texts = Mapping[str, Optional[str]]


def observe(context: Context, wanted: ObserveInput) -> Dict[str, Any]:
    """All labels of one host."""
    # What isn't there never has the label that it was converged with, or nobody would notice that it is gone.
    absent = NOT_YET + " (asked %s)" % time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    record = context.host_or_none()
    server = record is not None and record["definition"]["runtime"] == "compose"
    checks = _Checks(context, wanted, absent)
    checks.start()
    host, services, found = absent, {}, {}
    others = integrations.check(record["definition"]["integrations"]) if record else {}
    if record is not None:
        seen = _Seen(context, others)
        host, services = seen.host(), {name: seen.service(name) for name in context.store.names()}
        found = images.labels(context)
    return {
        "host": host,
        "services": services,
        **({"images": found} if found else {}),
        "secrets": secretfiles.labels(context) if record is not None else {},
        "databases": {**checks.labels(), **(_listening(context) if server else {})},
        "integrations": others,
        "absent": absent,
        "adopts": _to_adopt(wanted["containers"]),
        "now": int(time.time()),
    }


def _listening(context: Context) -> Dict[str, str]:
    """Whether each database that was converged answers at all: a login takes a container of its own on a server."""
    labels: Dict[str, str] = {}
    for name, record in context.databases().items():
        target = record["definition"]["check"]["input"]
        try:
            socket.create_connection((target["host"], target["port"]), _KNOCK_SECONDS).close()
            labels[name] = record["label"]
        except OSError as error:
            labels[name] = "missing: %s" % (error.strerror or "timed out").lower()
    return labels


def _to_adopt(names: Sequence[str]) -> Dict[str, Dict[str, Any]]:
    """Containers of documented names that somebody else made: their images, and whether they run (D18)."""
    if not names or not os.path.exists(docker_api.socket_path()):
        return {}
    api = docker_api.DockerApi()
    try:
        found = {name: api.inspect(name) for name in names}
    except docker_api.DockerMissing:
        return {}
    return {
        name: {"image": one["Config"]["Image"], "running": bool(one["State"]["Running"])}
        for name, one in found.items()
        if one is not None and STACK not in (one["Config"]["Labels"] or {})
    }


class _Seen:
    """The host as it is at this moment."""

    def __init__(self, context: Context, others: Mapping[str, str]) -> None:
        self._context = context
        self._others = others
        self._services = context.store.wanted()
        self._parts = files.contributions(context, self._services)
        self._expected = files.expected(context, self._services)
        self._texts: Texts = files.present(context)
        self._own = {file: name for name, one in self._services.items() for file in one["files"]}
        self._processes = context.runtime.processes()
        self._registered = registry.Registered(context)

    def host(self) -> str:
        """The host's own label."""
        record = self._context.host()
        reason = self._host_differs(record["definition"]["name"])
        return label_of(reason, record["generation"], record["label"])

    def service(self, name: str) -> str:
        """One service's label."""
        record = self._context.store.record(name)
        if record is None:
            return ""  # removed this moment
        pending = record["pending"]
        if pending is not None:
            if busy(record):
                return label_of("another run is changing it", record["good"] or 0, record["label"])
            return label_of(
                "interrupted at generation %d" % pending["generation"], record["good"] or 0, record["label"]
            )
        return label_of(self._service_differs(name, record), record["good"] or 0, record["label"])

    def _host_differs(self, name: str) -> str:
        layout = self._context.layout
        if self._processes is None:
            return "the runtime is not running"
        for program in self._context.runtime.host_programs(self._context.host()["definition"]):
            if not _runs(self._processes.get(program)):
                return "%s is not running" % program
        host = self._context.host()["definition"]
        for file in sorted(host["files"]):
            if self._texts.get(file) is None:
                return "%s is missing" % file
        missing = self._context.runtime.host_differs(host)
        if missing:
            return missing
        if not os.access(str(layout.bin / "hostctl"), os.X_OK):
            return "bin/hostctl is missing"
        edited = self._edited(name)
        if edited:
            return "its block in %s was edited" % edited
        return (
            layout.wrong_mode()
            or self._edited_by_nobody(host["files"])
            or firewall.check(layout, host)
            # An `up` has to run the verb `host`, which refuses: it alone knows where they are to be by then.
            or integrations.insisted(host["integrations"], self._others)
        )

    def _service_differs(self, name: str, record: Record) -> str:
        edited = self._edited(name)
        if edited:
            missing = self._texts.get(edited) is None
            return "%s is missing" % edited if missing else "its block in %s was edited" % edited
        own = self._own_files_differ(name)
        if own:
            return own
        process = (self._processes or {}).get(name)
        if process is None or not _runs(process):
            return "process not running"
        return self._runs_otherwise(name, record, process) or self._registered.differs(name, self._services.get(name))

    def _runs_otherwise(self, name: str, record: Record, process: Process) -> str:
        definition = self._services.get(name)
        if definition is None:
            return "generation %d is missing in state/" % (record["good"] or 0)
        runtime = self._context.runtime
        differs = runtime.differs(name, definition["digest"], process) or runtime.leftover(name)
        return differs or runtime.misnamed(name) or _not_yet_well(definition, process)

    def _edited(self, owner: str) -> str:
        for part in self._parts.get(owner, []):
            file = part["file"]
            text = self._texts.get(file)
            if text is None and self._own.get(file, owner) != owner:
                continue  # the service that brings it says so
            if file in self._expected and (text is None or not files.contains(text, part["text"])):
                return file
        return ""

    def _own_files_differ(self, name: str) -> str:
        """How the files that a service brings differ."""
        own = self._services[name]["files"] if name in self._services else {}
        for file in sorted(own):
            if self._texts.get(file) is None:
                return "%s is missing" % file
        return self._edited_by_nobody(own)

    def _edited_by_nobody(self, those: Mapping[str, HostFile]) -> str:
        """A file whose parts of services and host are all there, but which isn't what we wrote."""
        for file in sorted(those):
            mode = int(those[file]["mode"], 8)
            if os.stat(str(self._context.layout.root / file)).st_mode & 0o777 != mode:
                return "%s has another mode" % file
            if self._texts[file] == self._expected[file]:
                continue
            if not any(self._edited(name) == file for name in self._services):
                return "%s was edited" % file
        return ""


class _Checks:
    """The databases' checks, all at the same time."""

    def __init__(self, context: Context, wanted: ObserveInput, absent: str) -> None:
        record = context.host_or_none()
        self._context = context
        self._records = context.databases() if record else {}
        self._absent = absent
        self._base = record["base"] if record else os.getcwd()
        self._wanted = wanted
        self._labels: Dict[str, str] = {}
        self._threads: List[threading.Thread] = []

    def start(self) -> None:
        """Starts those that were asked for."""
        for name, definition in self._wanted["databases"].items():
            thread = threading.Thread(target=self._check, args=(name, definition))
            thread.start()
            self._threads.append(thread)

    def labels(self) -> Dict[str, str]:
        """Waits for them."""
        for thread in self._threads:
            thread.join()
        return self._labels

    def _check(self, name: str, definition: DatabaseDefinition) -> None:
        try:
            # A preview may know a password that the host does not have yet.
            secrets = self._wanted["secrets"].get(name) or {}
            if not secrets and definition["secret"]:
                secrets = read_secrets(self._context.layout, name)
            found = client.check(self._base, definition, secrets).label
        except (client.CheckBroken, Unreadable) as error:
            found = "unknown: %s" % error
        self._labels[name] = self._label(name, found)

    def _label(self, name: str, found: str) -> str:
        """What the check says; the adopted label while that is what was converged."""
        record = self._records.get(name)
        if record is None:
            return found + SEPARATOR + self._absent
        return record["label"] if record["found"] == found else found


def _not_yet_well(definition: ServiceDefinition, process: Process) -> str:
    """Whether one that has just begun, perhaps because Docker did, doesn't answer yet: an `up` then waits for it."""
    if not 0 <= process.age < definition["health"]["timeout_seconds"]:
        return ""
    reason = health.probe(definition["health"]["url"], _HEALTH_SECONDS)
    return "it has just begun and is not healthy yet: %s" % reason if reason else ""


def _runs(process: Optional[Process]) -> bool:
    return process is not None and process.state in ("running", "starting")
