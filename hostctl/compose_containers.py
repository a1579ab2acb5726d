"""The containers of one stack on this host, told apart by labels, never by names (D5)."""

from __future__ import annotations

import math
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from hostctl.compose_files import DEFINITION, SERVICE, STACK
from hostctl.console import say
from hostctl.docker_api import DockerApi, DockerRefused
from hostctl.errors import HostctlError
from hostctl.layout import Layout, read_json, remove, write_json
from hostctl.runtime import Process, Target

# What compose 1.29 calls the old container while it makes the new one.
_SET_ASIDE_BY_COMPOSE = re.compile(r"(?:[0-9a-f]{12}_)+(.+)")
ASIDE = ".before-blockchain-dao"
STOP_MARGIN_SECONDS = 30.0
_WORKING_DIR = "com.docker.compose.project.working_dir"


class Seen(NamedTuple):
    """One container as the Docker API shows it."""

    id: str
    name: str
    state: str
    pid: int
    started: str
    created: str
    digest: str
    detail: str

    def process(self) -> Process:
        """The same as every runtime tells it."""
        states = {"running": "running", "created": "starting", "paused": "stopped", "removing": "stopped"}
        return Process(states.get(self.state, "failed"), self.pid, self.detail)


class Containers:
    """All containers of one stack."""

    def __init__(self, layout: Layout, api: DockerApi, stack: str) -> None:
        self._layout, self.api, self._stack = layout, api, stack

    def names(self) -> List[str]:
        """Services that have a container."""
        return sorted({entry["Labels"][SERVICE] for entry in self._entries() if SERVICE in entry["Labels"]})

    def all(self, name: str) -> List[Seen]:
        """All containers of a service: the one that runs first, then the newest."""
        found = [self._seen(entry["Id"]) for entry in self._entries(name)]
        seen = [one for one in found if one is not None]
        newest = sorted(seen, key=lambda one: one.created, reverse=True)
        return sorted(newest, key=lambda one: one.state != "running")

    def current(self, name: str) -> Optional[Seen]:
        """The container that serves, else the newest."""
        return next(iter(self.all(name)), None)

    def newest(self, name: str) -> Optional[Seen]:
        """The container that was made last."""
        return max(self.all(name), key=lambda one: one.created, default=None)

    def tidy(self, name: str) -> None:
        """Leaves one container of a service: a compose that was killed may have left two, and odd names."""
        keep, *others = self.all(name) or [None]
        for other in others:
            if other is not None:
                self._quietly_delete(other)
        if keep is None:
            return
        if keep.state == "paused":
            self.api.post("/containers/%s/unpause" % keep.id)
        odd = _SET_ASIDE_BY_COMPOSE.fullmatch(keep.name)
        if odd and self.api.inspect(odd.group(1)) is None:
            self.api.post("/containers/%s/rename" % keep.id, name=odd.group(1))

    def remove(self, targets: Sequence[Target]) -> Dict[str, str]:
        """Stops and removes services' containers, all at once; what went wrong by name."""
        with ThreadPoolExecutor(max(1, min(8, len(targets)))) as pool:
            troubles = list(pool.map(self._remove_one, targets))
        return {target.name: trouble for target, trouble in zip(targets, troubles) if trouble}

    def remove_all(self) -> None:
        """Every container of the stack, and then the networks of its label."""
        names = self.names()
        troubles = self.remove([Target(name, 10.0) for name in names])
        if troubles:
            raise HostctlError("; ".join(troubles.values()))
        for network in self.api.get("/networks", filters='{"label": ["%s=%s"]}' % (STACK, self._stack)):
            self.api.delete("/networks/%s" % network["Id"])

    def make_way(self, name: str) -> None:
        """Sets a container aside that has the documented name and isn't ours (D18): stopped, kept, given back later."""
        there = self.api.inspect(name)
        if there is None or STACK in (there["Config"]["Labels"] or {}):
            return
        running = bool(there["State"]["Running"])
        kept = dict(self._adopted(), **{name: {"id": there["Id"], "running": running}})
        write_json(self._layout.adopted, kept)
        self._stop(there["Id"], 30.0)
        self.api.post("/containers/%s/rename" % there["Id"], name=name + ASIDE)
        say("%s: the container of that name that was here is kept as %s" % (name, name + ASIDE))

    def set_aside(self, name: str) -> bool:
        """Whether a container was set aside for this service."""
        return name in self._adopted()

    def _give_back(self, name: str) -> None:
        kept = self._adopted()
        entry = kept.pop(name, None)
        if entry is None:
            return
        if self.api.inspect(entry["id"]) is not None and self.api.inspect(name) is None:
            self.api.post("/containers/%s/rename" % entry["id"], name=name)
            if entry["running"]:
                self.api.post("/containers/%s/start" % entry["id"])
            say("%s: the container that was here before has its name back" % name)
        if kept:
            write_json(self._layout.adopted, kept)
        else:
            remove(self._layout.adopted)

    def _adopted(self) -> Dict[str, Any]:
        return read_json(self._layout.adopted) or {}

    def _entries(self, name: str = "") -> List[Dict[str, Any]]:
        labels = {STACK: self._stack}
        if name:
            labels[SERVICE] = name
        return self.api.containers(labels)

    def _seen(self, container: str) -> Optional[Seen]:
        found = self.api.inspect(container)
        return None if found is None else seen(found)

    def _remove_one(self, target: Target) -> str:
        try:
            for one in self.all(target.name):
                self._stop(one.id, target.grace_seconds)
                self._quietly_delete(one)
            self._give_back(target.name)
        except HostctlError as error:
            return "%s can't be removed: %s" % (target.name, error)
        return ""

    def _stop(self, container: str, grace: float) -> None:
        try:
            seconds = math.ceil(grace)
            self.api.post("/containers/%s/stop" % container, seconds=seconds + STOP_MARGIN_SECONDS, t=seconds)
        except DockerRefused as error:
            if error.status != 404:  # gone meanwhile
                raise

    def _quietly_delete(self, one: Seen) -> None:
        try:
            self.api.delete("/containers/%s" % one.id, force=1)
        except DockerRefused as error:
            if error.status not in (404, 409):  # gone, or somebody else is removing it
                raise


def seen(found: Mapping[str, Any]) -> Seen:
    """What matters of a container's inspection."""
    state = found["State"]
    labels: Dict[str, str] = found["Config"]["Labels"] or {}
    return Seen(
        found["Id"],
        found["Name"].lstrip("/"),
        state["Status"],
        state["Pid"],
        state["StartedAt"],
        found["Created"],
        labels.get(DEFINITION, ""),
        _detail(state, found["HostConfig"].get("Memory") or 0),
    )


def stack_of(api: DockerApi, root: str) -> Optional[str]:
    """The stack whose containers were made in this folder, where its records are gone; None when there are none."""
    for entry in api.containers({_WORKING_DIR: root}):
        if STACK in entry["Labels"]:
            return str(entry["Labels"][STACK])
    return None


def _detail(state: Mapping[str, Any], memory: int) -> str:
    if state["Status"] in ("running", "created"):
        return ""
    if state["Status"] == "paused":
        return "its container is paused"
    if state.get("OOMKilled"):
        return "killed: it took more than its memory limit of %d MB" % (memory // 1000000)
    again = ", and is started again and again" if state["Status"] == "restarting" else ""
    return "exit status %d%s" % (state["ExitCode"], again)
