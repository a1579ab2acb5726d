"""What each service should be: numbered generations, the last good one, and the change under way.

A service's record (`state/services/NAME.json`) is also its journal: `pending` says what a run has begun,
and who that is. Only the pending's living owner, or the holder of the lock once the owner is dead, writes it.
"""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, List, Optional, Set, TypedDict, cast

from hostctl.definitions import full_service
from hostctl.errors import BadInput, HostctlError
from hostctl.forms import ServiceDefinition
from hostctl.identity import Identity, alive
from hostctl.layout import Layout, make_folder, read_json, remove, write_json

KEPT = 5
STARTING, ROLLING_BACK, REMOVING = "starting", "rolling-back", "removing"


class Pending(TypedDict):
    """A change that somebody has begun."""

    generation: int
    phase: str
    owner: Identity
    request: str
    since: float


class Record(TypedDict):
    """One service on this host."""

    name: str
    last: int
    good: Optional[int]
    label: str
    pending: Optional[Pending]


class Generation(TypedDict):
    """One form of a service (`state/generations/NAME/NUMBER.json`)."""

    generation: int
    when: float
    """When its run began, in seconds since 1970."""
    good: bool
    """Whether it ever was healthy; what a hostctl wrote down that didn't know this counts as good."""
    definition: ServiceDefinition


class Store:
    """Everything under ROOT/state that is about services."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def names(self) -> List[str]:
        """Services that have a record."""
        return sorted(path.stem for path in self._layout.services.glob("*.json") if path.name[0] != ".")

    def record(self, name: str) -> Optional[Record]:
        """The record of one service."""
        return cast("Optional[Record]", read_json(self._record_path(name)))

    def save(self, record: Record) -> None:
        """Writes a record for good."""
        write_json(self._record_path(record["name"]), record)

    def definition(self, name: str, generation: int) -> ServiceDefinition:
        """What one generation said."""
        found = self._find(name, generation)
        if found is None:
            raise HostctlError("generation %d of %s is missing in state/: bring it up again" % (generation, name))
        return found

    def good(self, name: str) -> Optional[ServiceDefinition]:
        """The last good definition."""
        record = self.record(name)
        return self._find(name, record["good"] if record else None)

    def now(self, name: str) -> Optional[ServiceDefinition]:
        """What one service should be now, a change under way included; None when it should not be."""
        record = self.record(name)
        return self._find(name, wanted_generation(record)) if record else None

    def wanted(self) -> Dict[str, ServiceDefinition]:
        """What the host's files should hold now, changes under way included."""
        found: Dict[str, ServiceDefinition] = {}
        for name in self.names():
            definition = self.now(name)
            if definition is not None:
                found[name] = definition
        return found

    def history(self, name: str) -> List[Generation]:
        """The generations that are kept, the oldest first."""
        found = (read_json(self._generation_path(name, number)) for number in self._numbers(name))
        return [
            cast(Generation, {"good": True, **value, "definition": full_service(value["definition"])})
            for value in found
            if value is not None
        ]

    def previous(self, name: str) -> Optional[Generation]:
        """What a rollback goes back to: the newest one before the good one that was healthy and says something else."""
        record = self.record(name)
        good = self.good(name)
        for one in reversed(self.history(name) if record and good else []):
            if record and one["generation"] < (record["good"] or 0) and one["good"] and one["definition"] != good:
                return one
        return None

    def images(self) -> Set[str]:
        """What services may be started with: now, after the change under way, or after a rollback."""
        found: Set[str] = set()
        for name in self.names():
            record, previous = self.record(name), self.previous(name)
            pending = record["pending"] if record else None
            numbers = [record["good"] if record else None, pending["generation"] if pending else None]
            definitions = [self._find(name, number) for number in numbers]
            definitions.append(previous["definition"] if previous else None)
            found.update(definition["launch"]["image"] for definition in definitions if definition)
        return found - {""}

    def begin(self, definition: ServiceDefinition, owner: Identity, request: str) -> int:
        """Journals the start of a change and gives its generation (the good one's when nothing changed)."""
        name = definition["name"]
        record = self.record(name)
        if record is None:
            self.forget(name)  # what a crash while forgetting may have left
            record = Record(name=name, last=0, good=None, label="", pending=None)
        self._keep_launch(definition)
        number = self._number_of(record, definition)
        if number is None:
            number = record["last"] = record["last"] + 1
            self._write_generation(number, definition)
        record["pending"] = {
            "generation": number,
            "phase": STARTING,
            "owner": owner,
            "request": request,
            "since": time.time(),
        }
        self.save(record)
        return number

    def turn(self, name: str, phase: str, owner: Identity, request: str = "") -> None:
        """Moves a pending change on, or makes it another owner's (for the lock's holder)."""
        record = self.record(name)
        if record is None:
            return
        pending: Pending = record["pending"] or {
            "generation": record["good"] or record["last"],
            "phase": phase,
            "owner": owner,
            "request": request,
            "since": time.time(),
        }
        pending["phase"] = phase
        pending["owner"] = owner
        pending["request"] = request
        record["pending"] = pending
        self.save(record)

    def commit(self, name: str, label: Optional[str]) -> int:
        """The pending generation is good now. Adopting another label makes a generation of its own.

        So "(after generation 4)" in a later label always differs from one that was adopted before.
        """
        record = self.record(name)
        if record is None or record["pending"] is None:
            raise BadInput("%s has no change to commit" % name)
        number = record["pending"]["generation"]
        self._mark_good(name, number)
        if label is not None and label != record["label"]:
            if number == record["good"]:
                definition = self.definition(name, number)
                number = record["last"] = record["last"] + 1
                self._write_generation(number, definition, good=True)
            record["label"] = label
        record["good"] = number
        record["pending"] = None
        self.save(record)
        self._prune(record)
        return number

    def abandon(self, name: str) -> None:
        """Forgets the pending change; a service that never was good is forgotten as a whole."""
        record = self.record(name)
        if record is None:
            return
        record["pending"] = None
        if record["good"] is None:
            self.forget(name)
        else:
            self.save(record)
            self._prune(record)

    def forget(self, name: str) -> None:
        """Removes everything about one service; its record first: it must never name files that are gone."""
        remove(self._record_path(name))
        remove(self._layout.running / (name + ".json"))
        for folder in (self._layout.generations / name, self._layout.definitions / name):
            shutil.rmtree(str(folder), ignore_errors=True)
        with suppress(OSError):
            (self._layout.data / name).rmdir()  # only when it stored nothing

    def _number_of(self, record: Record, definition: ServiceDefinition) -> Optional[int]:
        pending = record["pending"]
        for number in (record["good"], pending["generation"] if pending else None):
            if number is not None and self._find(record["name"], number) == definition:
                return number
        return None

    def _keep_launch(self, definition: ServiceDefinition) -> None:
        folder = self._layout.definitions / definition["name"]
        make_folder(folder, 0o700)
        path = folder / (definition["digest"] + ".json")
        kept = launch_part(definition)
        before = read_json(path)
        if before is None:
            write_json(path, kept)
        elif before != kept:
            raise BadInput("digest %s already stands for other settings" % definition["digest"])

    def _write_generation(self, number: int, definition: ServiceDefinition, good: bool = False) -> None:
        make_folder(self._layout.generations / definition["name"], 0o700)
        value = {"generation": number, "when": time.time(), "good": good, "definition": definition}
        write_json(self._generation_path(definition["name"], number), value)

    def _mark_good(self, name: str, number: int) -> None:
        path = self._generation_path(name, number)
        value = read_json(path)
        if value is not None and not value.get("good", True):
            write_json(path, {**value, "good": True})

    def _prune(self, record: Record) -> None:
        """Keeps the newest generations and the launch files that they name.

        Also what a rollback would go back to: repairs and failed updates have generations of their own.
        """
        name = record["name"]
        numbers = self._numbers(name)
        previous = self.previous(name)
        keep = {*numbers[-KEPT:], record["good"], previous["generation"] if previous else None}
        for number in numbers:
            if number not in keep:
                remove(self._generation_path(name, number))
        kept = [self._find(name, number) for number in numbers if number in keep]
        digests = {definition["digest"] for definition in kept if definition}
        for path in (self._layout.definitions / name).glob("[0-9a-f]*.json"):
            if path.stem not in digests:
                remove(path)

    def _numbers(self, name: str) -> List[int]:
        return sorted(int(path.stem) for path in (self._layout.generations / name).glob("[0-9]*.json"))

    def _find(self, name: str, generation: Optional[int]) -> Optional[ServiceDefinition]:
        found = None if generation is None else read_json(self._generation_path(name, generation))
        return None if found is None else full_service(found["definition"])

    def _record_path(self, name: str) -> Path:
        return self._layout.services / (name + ".json")

    def _generation_path(self, name: str, number: int) -> Path:
        return self._layout.generations / name / ("%06d.json" % number)


def wanted_generation(record: Record) -> Optional[int]:
    """The generation whose parts belong in the host's files now."""
    pending = record["pending"]
    if pending is None or pending["phase"] == ROLLING_BACK:
        return record["good"]
    return None if pending["phase"] == REMOVING else pending["generation"]


def busy(record: Optional[Record], besides: str = "") -> bool:
    """Whether a living run (other than the request `besides`) is changing this service, or putting it back."""
    pending = record["pending"] if record else None
    if pending is None or (besides and pending["request"] == besides):
        return False
    return alive(pending["owner"])


def orphaned(record: Record) -> bool:
    """Whether a change was begun by somebody who is dead."""
    return record["pending"] is not None and not alive(record["pending"]["owner"])


def launch_part(definition: ServiceDefinition) -> Dict[str, Any]:
    """What `launch` needs of a definition; kept under its digest, never rewritten."""
    launch = definition["launch"]
    keys = ("argv", "cwd", "env") if launch["argv"] else ("image", "env", "bind", "resources")
    return {
        "name": definition["name"],
        "launch": {key: launch[key] for key in keys},
        "secrets": definition["secrets"],
    }
