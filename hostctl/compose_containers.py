"""The containers of one stack on this host, told apart by labels, never by names (D5)."""

from __future__ import annotations

import calendar
import math
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence

from hostctl.compose_aside import Aside
from hostctl.compose_files import CONTAINER, DEFINITION, SERVICE, STACK
from hostctl.console import say
from hostctl.docker_api import DockerApi, DockerRefused
from hostctl.errors import HostctlError
from hostctl.layout import Layout
from hostctl.runtime import Process, Target

# What compose 1.29 calls the old container while it makes the new one.
_SET_ASIDE_BY_COMPOSE = re.compile(r"(?:[0-9a-f]{12}_)+(.+)")
STOP_MARGIN_SECONDS = 30.0
_WORKING_DIR = "com.docker.compose.project.working_dir"
_ONE_OFF = "com.docker.compose.oneoff"


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
    proven: bool = True
    """Whether Docker starts it again by itself; a version that has still to prove itself beside the old one isn't."""
    ports: FrozenSet[int] = frozenset()
    """The host's ports on which it is published."""
    documented: str = ""
    """What its label says it is to be called (E2); empty where any name will do."""

    def process(self) -> Process:
        """The same as every runtime tells it."""
        states = {"running": "running", "created": "starting", "paused": "stopped", "removing": "stopped"}
        return Process(states.get(self.state, "failed"), self.pid, self.detail, time.time() - began_at(self))


class Containers:
    """All containers of one stack."""

    def __init__(self, layout: Layout, api: DockerApi, stack: str) -> None:
        self.api, self._stack = api, stack
        self.aside = Aside(layout, api)

    def names(self) -> List[str]:
        """Services that have a container."""
        return sorted({entry["Labels"][SERVICE] for entry in self._entries()})

    def crowded(self) -> List[str]:
        """Services that have more than one container: what killed runs have left."""
        count = Counter(entry["Labels"][SERVICE] for entry in self._entries())
        return sorted(name for name, number in count.items() if number > 1)

    def all(self, name: str) -> List[Seen]:
        """All containers of a service: one that runs and is proven first, then the newest."""
        found = [self.one(entry["Id"]) for entry in self._entries(name)]
        seen = [one for one in found if one is not None]
        newest = sorted(seen, key=lambda one: one.created, reverse=True)
        return sorted(newest, key=lambda one: (one.state != "running", not one.proven))

    def one(self, container: str) -> Optional[Seen]:
        """One container as it is now; None when it is gone."""
        found = self.api.inspect(container)
        return None if found is None else seen(found)

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
                self.delete(other.id)
        if keep is None:
            return
        if keep.state == "paused":
            self.api.post("/containers/%s/unpause" % keep.id)
        odd = _SET_ASIDE_BY_COMPOSE.fullmatch(keep.name)
        if odd and self.api.inspect(odd.group(1)) is None:
            self.api.post("/containers/%s/rename" % keep.id, name=odd.group(1))

    def misnamed(self, name: str) -> str:
        """Whether the container that serves lacks its documented name ("" when it doesn't)."""
        now = self._misnamed(name)
        return "" if now is None else "its container is not called %s" % now.documented

    def leftover(self, name: str) -> str:
        """Whether a service has more than one container ("" when it hasn't)."""
        return "a second container of it is left" if len(self._entries(name)) > 1 else ""

    def call(self, name: str) -> None:
        """Gives the container that serves its documented name (E2); it runs on, and compose knows it by its labels.

        That it can't have it is no reason to end what serves: `misnamed` tells of it until it has.
        """
        now = self._misnamed(name)
        if now is None:
            return
        try:
            self.aside.make_way(now.documented)
            self.api.post("/containers/%s/rename" % now.id, name=now.documented)
        except HostctlError as error:
            say("warning: the container of %s is called %s: %s" % (name, now.name, error))

    def _misnamed(self, name: str) -> Optional[Seen]:
        now = self.current(name)
        return now if now is not None and now.documented not in ("", now.name) else None

    def remove(self, targets: Sequence[Target]) -> Dict[str, str]:
        """Stops and removes services' containers, all at once; what went wrong by name."""
        with ThreadPoolExecutor(max(1, min(8, len(targets)))) as pool:
            troubles = list(pool.map(self._remove_one, targets))
        return {target.name: trouble for target, trouble in zip(targets, troubles) if trouble}

    def give_back(self, targets: Sequence[Target]) -> Dict[str, str]:
        """The names of removed services' containers to those who had them before; what went wrong by name."""
        # One after the other: what is on record of those set aside is one file.
        troubles = [(target.name, self._give_back(target)) for target in targets]
        return {name: trouble for name, trouble in troubles if trouble}

    def remove_all(self) -> None:
        """Every container of the stack, and then the networks of its label; what was set aside is as it was."""
        names = sorted({*self.names(), *self.aside.names()})
        targets = [Target(name, 10.0, undone=True) for name in names]
        troubles = self.remove(targets)
        troubles.update(self.give_back([target for target in targets if target.name not in troubles]))
        if troubles:
            raise HostctlError("; ".join(troubles.values()))
        for left in self.api.containers({STACK: self._stack}):  # one-off ones of `docker-compose run`
            self.delete(left["Id"])
        for network in self.api.get("/networks", filters='{"label": ["%s=%s"]}' % (STACK, self._stack)):
            self.api.delete("/networks/%s" % network["Id"])

    def _entries(self, name: str = "") -> List[Dict[str, Any]]:
        labels = {STACK: self._stack}
        if name:
            labels[SERVICE] = name
        return [entry for entry in self.api.containers(labels) if service_of(entry["Labels"], self._stack)]

    def _remove_one(self, target: Target) -> str:
        try:
            for one in self.all(target.name):
                self.stop(one.id, target.grace_seconds)
                self.delete(one.id)
        except HostctlError as error:
            return "%s can't be removed: %s" % (target.name, error)
        return ""

    def _give_back(self, target: Target) -> str:
        try:
            self.aside.give_back(target.name, target.undone)
        except (HostctlError, OSError) as error:
            return "%s is removed, but what it made way for isn't back: %s" % (target.name, error)
        return ""

    def set_proven(self, container: str, proven: bool) -> None:
        """Whether Docker starts it again by itself, as the compose file says, or never."""
        policy = {"Name": "always" if proven else "no", "MaximumRetryCount": 0}
        self.api.post("/containers/%s/update" % container, {"RestartPolicy": policy})

    def start(self, container: str) -> None:
        """Starts one that compose has only made."""
        self.api.post("/containers/%s/start" % container)

    def stop(self, container: str, grace: float) -> None:
        """Asks it to end, and ends it when the grace is over; one that is gone is fine."""
        try:
            seconds = math.ceil(grace)
            self.api.post("/containers/%s/stop" % container, seconds=seconds + STOP_MARGIN_SECONDS, t=seconds)
        except DockerRefused as error:
            if error.status != 404:  # gone meanwhile
                raise

    def delete(self, container: str) -> None:
        """Takes a container away, running or not; one that is gone is fine."""
        try:
            self.api.delete("/containers/%s" % container, force=1)
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
        _policy(found) != "no",
        _host_ports(found),
        labels.get(CONTAINER, ""),
    )


def began_at(one: Seen) -> float:
    """When a container was started last, in seconds of the host's clock; long ago where Docker doesn't say."""
    try:
        return calendar.timegm(time.strptime(one.started[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return -math.inf


def _policy(found: Mapping[str, Any]) -> str:
    policy: Dict[str, Any] = found["HostConfig"].get("RestartPolicy") or {}
    return str(policy.get("Name", ""))


def _host_ports(found: Mapping[str, Any]) -> FrozenSet[int]:
    """Where it is published now: Docker chooses one of a range when it starts.

    After a crash of Docker what doesn't run still shows the port that it had, which may be another one's by now.
    """
    if found["State"]["Status"] != "running":
        return frozenset()
    settings: Dict[str, Any] = found.get("NetworkSettings") or {}
    published: Dict[str, Optional[List[Dict[str, str]]]] = settings.get("Ports") or {}
    return frozenset(int(one["HostPort"]) for each in published.values() for one in each or [])


def service_of(labels: Mapping[str, str], stack: str) -> str:
    """Which service of this stack a container is; "" for other people's and one-off ones (`docker-compose run`)."""
    ours = labels.get(STACK) == stack and labels.get(_ONE_OFF) != "True"
    return labels.get(SERVICE, "") if ours else ""


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
