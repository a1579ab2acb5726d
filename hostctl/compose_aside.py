"""Containers of documented names that were here before us: set aside for ours, and given back later (D18)."""

from __future__ import annotations

import time
from typing import Any, Dict, List, Optional, TypedDict, cast

from hostctl.compose_files import STACK
from hostctl.console import say
from hostctl.docker_api import DockerApi, DockerRefused
from hostctl.errors import HostctlError
from hostctl.layout import Layout, read_json, remove, write_json

ASIDE = ".before-blockchain-dao"
SECONDS = 30
STOP_MARGIN_SECONDS = 30.0
LET_GO_SECONDS, POLL_SECONDS = 3.0, 0.2
"""For how long the start of one that was here before is tried: its port may be let go of only now."""
_NO_POLICY: Dict[str, Any] = {"Name": "no"}


class Entry(TypedDict):
    """One container in `state/adopted.json`, under the name that it had."""

    id: str
    running: bool
    """Whether it ran, and has to again when all is undone."""
    restart: Dict[str, Any]
    """Its restart policy: meanwhile it has none, or a restart of Docker would start it on our port."""


class Aside:
    """What was set aside on one host. For one thread at a time: all of it is in one file."""

    def __init__(self, layout: Layout, api: DockerApi) -> None:
        self._layout, self._api = layout, api

    def names(self) -> List[str]:
        """Names whose containers are on record."""
        return sorted(self._entries())

    def make_way(self, name: str) -> None:
        """Stops and renames a container that has the documented name and isn't ours.

        Whoever is killed in between finds it by its id in the record, which says how it was at first.
        """
        there = self._of_name(name)
        if there is None or STACK in (there["Config"]["Labels"] or {}):
            return
        kept = self._entries()
        known = kept.get(name)
        if self._of_name(name + ASIDE) is not None:
            raise HostctlError(both(name))
        if known is not None and known["id"] != there["Id"]:
            known = None  # that one was renamed or removed by somebody; this is another
        kept[name] = _entry(there, known)
        self._save(kept)
        if _restarts(there):
            self._set_policy(there["Id"], _NO_POLICY)
        self._api.post("/containers/%s/stop" % there["Id"], seconds=SECONDS + STOP_MARGIN_SECONDS, t=SECONDS)
        self._api.post("/containers/%s/rename" % there["Id"], name=name + ASIDE)
        say("%s: the container of that name that was here is kept as %s" % (name, name + ASIDE))

    def give_back(self, name: str, start: bool) -> None:
        """Gives a container its name back; with `start` it also runs and restarts again as it did at first.

        Without, it stays stopped and on record: another edition may be about to take its place (E1).
        """
        kept = self._entries()
        entry = kept.get(name)
        if entry is None:
            return
        there = self._api.inspect(entry["id"])
        if there is not None:
            self._rename(there, name)
            if start:
                self._as_it_was(there["Id"], entry)
        if start or there is None:
            del kept[name]
            self._save(kept)

    def _rename(self, there: Dict[str, Any], name: str) -> None:
        if there["Name"] == "/" + name:
            return
        if self._of_name(name) is not None:
            say("%s: the container that was here before stays %s: its name is taken" % (name, there["Name"][1:]))
            return
        self._api.post("/containers/%s/rename" % there["Id"], name=name)
        say("%s: the container that was here before has its name back" % name)

    def _as_it_was(self, container: str, entry: Entry) -> None:
        if entry["restart"].get("Name"):
            self._set_policy(container, entry["restart"])
        if not entry["running"]:
            return
        end = time.monotonic() + LET_GO_SECONDS
        while True:
            try:
                self._api.post("/containers/%s/start" % container)
                return
            except DockerRefused as error:  # somebody has its port by now, say: no reason to keep ours
                if time.monotonic() >= end:
                    say("the container %s that was here before can't be started again: %s" % (container[:12], error))
                    return
            time.sleep(POLL_SECONDS)

    def _set_policy(self, container: str, policy: Dict[str, Any]) -> None:
        self._api.post("/containers/%s/update" % container, {"RestartPolicy": policy})

    def _of_name(self, name: str) -> Optional[Dict[str, Any]]:
        """By exactly this name: Docker takes the beginning of an id for one too."""
        found = self._api.inspect(name)
        return found if found is not None and found["Name"] == "/" + name else None

    def _entries(self) -> Dict[str, Entry]:
        return cast("Dict[str, Entry]", read_json(self._layout.adopted) or {})

    def _save(self, kept: Dict[str, Entry]) -> None:
        if kept:
            write_json(self._layout.adopted, kept)
        else:
            remove(self._layout.adopted)


def both(name: str) -> str:
    """Why a container of the documented name can't make way."""
    message = "both %s and %s are containers that are not ours: remove or rename one of them"
    return message % (name, name + ASIDE)


def _entry(there: Dict[str, Any], known: Optional[Entry]) -> Entry:
    """How a container is now; what we took from it before counts as there."""
    policy: Dict[str, Any] = there["HostConfig"].get("RestartPolicy") or {}
    return {
        "id": there["Id"],
        "running": bool(there["State"]["Running"]) or (known is not None and known["running"]),
        "restart": policy if known is None or _restarts(there) else known["restart"],
    }


def _restarts(there: Dict[str, Any]) -> bool:
    policy: Dict[str, Any] = there["HostConfig"].get("RestartPolicy") or {}
    return policy.get("Name", "") not in ("", "no")
