"""What a run tells: events for people (display.py) and the same as data (`--json`)."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from standalone import STARTED
from standalone.diff import describe
from standalone.steps import Op, Step
from standalone.values import Props, Redactor, masked


@dataclass
class Record:
    """What became of one step."""

    step: Step
    status: str  # planned, running, done, failed, skipped, interrupted, refused
    detail: str = ""
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0


class Report:
    """Collects what happens; subclasses show it. Every method may be called from any thread."""

    def __init__(self, redact: Redactor, dry_run: bool) -> None:
        self.redact, self.dry_run = redact, dry_run
        self.began = STARTED
        self.records: dict[int, Record] = {}
        self.notices: list[tuple[str, str]] = []
        self.errors: list[str] = []
        self.lock = threading.RLock()

    # -- events ---------------------------------------------------------------------------------------------------

    def notice(self, level: str, text: str) -> None:
        """A message of the program or of the engine; the same one is shown once."""
        with self.lock:
            text = self.redact(text)
            if (level, text) not in self.notices:
                self.notices.append((level, text))
                self.show_notice(level, text)

    def error(self, text: str) -> None:
        """Something that makes the run fail and belongs to no single resource."""
        with self.lock:
            text = self.redact(text)
            if text not in self.errors:
                self.errors.append(text)
                self.show_error(text)

    def started(self, step: Step) -> None:
        """A step begins to run."""
        with self.lock:
            self.records[id(step)] = Record(step, "running")
            if not step.hidden:
                self.show_started(step)

    def line(self, step: Step, text: str) -> None:
        """A line that a running command printed."""
        with self.lock:
            self.show_line(step, self.redact(text))

    def ended(self, step: Step, status: str, detail: str = "") -> None:
        """A step is over (or, in a preview, was thought through)."""
        with self.lock:
            record = self.records.setdefault(id(step), Record(step, status))
            record.status, record.detail = status, self.redact(detail)
            record.seconds = time.monotonic() - record.began
            if not step.hidden:
                self.show_ended(record)

    # -- to be shown by subclasses --------------------------------------------------------------------------------

    def show_notice(self, level: str, text: str) -> None:
        """Show a message."""

    def show_error(self, text: str) -> None:
        """Show an error."""

    def show_started(self, step: Step) -> None:
        """Show that a step began."""

    def show_line(self, step: Step, text: str) -> None:
        """Show a command's line."""

    def show_ended(self, record: Record) -> None:
        """Show that a step ended."""

    # -- what came of it ------------------------------------------------------------------------------------------

    def visible(self) -> list[Record]:
        """The records that people care for."""
        with self.lock:
            return [record for record in self.records.values() if not record.step.hidden]

    def counts(self) -> dict[str, int]:
        """How many resources were (or would be) created, updated and so on; failed and skipped ones apart."""
        counts: dict[str, int] = {}
        for record in self.visible():
            key = record.step.op.value if record.status in ("done", "planned", "refused") else record.status
            counts[key] = counts.get(key, 0) + 1
        order = [op.value for op in Op]
        return dict(sorted(counts.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)))

    def has_changes(self) -> bool:
        """Whether anything is not as the program wants it."""
        return any(record.step.op is not Op.SAME or record.status != "planned" for record in self.visible())

    def failed(self) -> bool:
        """Whether the run did less than it should have."""
        bad = ("failed",) if self.dry_run else ("failed", "skipped", "interrupted", "refused")
        return bool(self.errors) or any(record.status in bad for record in self.visible())

    def as_data(self, verb: str, stack: str, outputs: Props) -> dict[str, Any]:
        """The whole run for machines."""
        return {
            "verb": verb,
            "stack": stack,
            "ok": not self.failed(),
            "changes": self.counts(),
            "resources": [self._record_as_data(record) for record in self.visible()],
            "outputs": masked(outputs),
            "notices": [{"level": level, "text": text} for level, text in self.notices],
            "errors": self.errors,
            "seconds": round(time.monotonic() - self.began, 2),
        }

    def _record_as_data(self, record: Record) -> dict[str, Any]:
        step = record.step
        data: dict[str, Any] = {
            "name": step.name,
            "type": step.type,
            "urn": step.urn,
            "op": step.op.value,
            "status": record.status,
            "seconds": round(record.seconds, 2),
        }
        if step.changes:
            data["diff"] = [
                {"path": change.where, "kind": change.kind, "text": "\n".join(describe(change, self.redact))}
                for change in step.changes
            ]
        if step.reasons:
            data["reasons"] = [self.redact(reason) for reason in step.reasons]
        if record.detail:
            data["detail"] = record.detail
        return data
