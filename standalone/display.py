"""How a run looks to people: plain lines anywhere, live progress on a terminal."""

from __future__ import annotations

import json
import sys
import time
from io import StringIO
from typing import Any, TextIO, cast

from standalone.diff import describe
from standalone.report import Record, Report
from standalone.steps import Op, Step
from standalone.values import Props, Redactor, masked

FITS = 80
"""Columns that a list may take before each of its items gets a line."""

_COLOURS = {Op.CREATE: 32, Op.UPDATE: 33, Op.REPLACE: 35, Op.DELETE: 31, Op.FORGET: 31, Op.SAME: 2}
_PAST = {
    "create": "created", "update": "updated", "replace": "replaced", "delete": "deleted", "forget": "forgotten",
    "unchanged": "unchanged",
}  # fmt: skip


class Plain(Report):
    """Lines on a stream, one for each thing that happens."""

    def __init__(
        self, redact: Redactor, dry_run: bool, *, show_unchanged: bool = False, stream: TextIO | None = None
    ) -> None:
        super().__init__(redact, dry_run)
        self.show_unchanged = show_unchanged
        self.stream = stream or sys.stdout
        self.colour = self.stream.isatty()

    def write(self, text: str) -> None:
        """One or more lines."""
        try:
            print(text, file=self.stream, flush=True)
        except BrokenPipeError:  # nobody listens any more; the work goes on, the state is what counts
            self.stream = StringIO()

    def paint(self, text: str, code: int) -> str:
        """Coloured, where there are colours."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def _head(self, step: Step, word: str) -> str:
        sign = self.paint(f"{step.op.sign:>2}", _COLOURS[step.op])
        return f" {sign} {word:<12} {step.name}  {self.paint(step.type, 2)}"

    def show_notice(self, level: str, text: str) -> None:
        """Show a message."""
        self.write(f"{self.paint(level, 33 if level == 'warning' else 31 if level == 'error' else 2)}: {text}")

    def show_error(self, text: str) -> None:
        """Show an error."""
        self.write(f"{self.paint('error', 31)}: {text}")

    def show_started(self, step: Step) -> None:
        """Show what begins, with what differs."""
        self.write("\n".join([self._head(step, f"{step.op.value} …"), *self._why(step)]))

    def show_line(self, step: Step, text: str) -> None:
        """Show a command's line."""
        self.write(self.paint(f"      {step.name} | {text}", 2))

    def show_ended(self, record: Record) -> None:
        """Show what came of a step (or, in a preview, what would be done)."""
        step, status = record.step, record.status
        if step.op is Op.SAME and status in ("planned", "done"):
            if self.show_unchanged:
                self.write(self._head(step, "unchanged"))
            return
        if status == "done":
            self.write(f"{self._head(step, _PAST[step.op.value])}  ({record.seconds:.1f} s)")
            return
        if status == "planned":
            self.write("\n".join([self._head(step, step.op.value), *self._why(step)]))
            return
        detail = record.detail.replace("\n", "\n        ")
        word = self.paint(status.upper(), 31) if status == "failed" else status
        self.write(f"{self._head(step, word)}\n      {detail}")

    def _why(self, step: Step) -> list[str]:
        lines = [line for change in step.changes for line in describe(change, self.redact)]
        return [f"      {line}" for line in [*map(self.redact, step.reasons), *lines]]

    def summary(self, verb: str, stack: str, outputs: Props, before: Props) -> None:
        """The end of a run: failures once more, outputs, counts."""
        bad = [r for r in self.visible() if r.status in ("failed", "interrupted")]
        if bad and len(self.visible()) > 8:
            self.write("\n" + "\n".join(f"{self.paint(r.status, 31)}: {r.step.name}: {r.detail}" for r in bad))
        if outputs or (before and not self.failed()):  # none known is none lost: a program that failed has no outputs
            self.write("\noutputs:\n" + "\n".join(output_lines(outputs, before if self.dry_run else None, self.redact)))
        nothing = "nothing was touched" if self.failed() else "nothing to do"
        counts = ", ".join(f"{n} {self._counted(key)}" for key, n in self.counts().items()) or nothing
        seconds = time.monotonic() - self.began
        state = self.paint("FAILED", 31) if self.failed() else "done"
        self.write(f"\n{verb} {stack}: {state}: {counts} ({seconds:.1f} s)")

    def _counted(self, key: str) -> str:
        if self.dry_run and key not in ("unchanged", "refused"):
            return f"to {key}"
        return _PAST.get(key, key)


def output_lines(outputs: Props, before: Props | None, redact: Redactor, show_secrets: bool = False) -> list[str]:
    """Stack outputs; with `before`, marked where they differ from it."""
    from standalone.values import plain

    width = max((len(key) for key in outputs), default=0)
    lines: list[str] = []
    keys: list[str] = sorted({*outputs, *(before or {})})
    for key in keys:
        shown: Any = plain(outputs.get(key)) if show_secrets else masked(outputs.get(key))
        mark = " "
        if before is not None:
            mark = "-" if key not in outputs else "+" if key not in before else " "
            if key in outputs and key in before and before[key] != outputs[key]:
                mark = "~"
        first, *more = value_lines(shown)
        for line in (f"  {mark} {key:<{width}}  {first}".rstrip(), *(f"      {line}" for line in more)):
            lines.append(line if show_secrets else redact(line))
    return lines


def value_lines(value: Any) -> list[str]:
    """A value as its first line and, for maps and lists that don't fit in it, one line an entry."""
    if isinstance(value, dict) and value:
        entries = cast("dict[str, Any]", value)
        width = max(len(key) for key in entries)
        return ["", *(f"{key:<{width}}  {_inline(entries[key])}" for key in sorted(entries))]
    if isinstance(value, list) and value:
        items = [_inline(item) for item in cast("list[Any]", value)]
        together = ", ".join(items)
        return [together] if len(together) <= FITS else ["", *(f"- {item}" for item in items)]
    return [_inline(value)]


def _inline(value: Any) -> str:
    if isinstance(value, dict) and value:
        entries = cast("dict[str, Any]", value)
        return ", ".join(f"{key} {_inline(entries[key])}" for key in sorted(entries))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class Live(Plain):
    """On a terminal: what is under way stands below the lines, with its last words and its seconds."""

    def __init__(self, redact: Redactor, dry_run: bool, *, show_unchanged: bool = False) -> None:
        super().__init__(redact, dry_run, show_unchanged=show_unchanged)
        from rich.console import Console
        from rich.live import Live as RichLive

        self.running: dict[int, tuple[Step, float, str]] = {}
        self.console = Console(highlight=False, soft_wrap=True)
        self.live = RichLive(console=self.console, get_renderable=self._render, refresh_per_second=8, transient=True)
        self.live.start()

    def close(self) -> None:
        """Give the terminal back."""
        self.live.stop()

    def write(self, text: str) -> None:
        """Lines above the live part."""
        from rich.text import Text

        self.console.print(Text.from_ansi(text))

    def show_started(self, step: Step) -> None:
        """Show what begins, and keep it in sight."""
        self.running[id(step)] = (step, time.monotonic(), "")
        self.live.refresh()
        why = self._why(step)
        if why:
            self.write("\n".join([self._head(step, step.op.value), *why]))

    def show_line(self, step: Step, text: str) -> None:
        """Show a command's last line."""
        if id(step) in self.running:
            self.running[id(step)] = (*self.running[id(step)][:2], text)

    def show_ended(self, record: Record) -> None:
        """Show what came of it."""
        self.running.pop(id(record.step), None)
        self.live.refresh()
        super().show_ended(record)

    def _render(self) -> Any:
        from rich.spinner import Spinner
        from rich.table import Table

        table = Table.grid(padding=(0, 1))
        # Not under `lock`: rich calls this with its own lock held, and who holds ours may be waiting for that one.
        for step, began, last in list(self.running.values()):
            words = f"{step.op.value} {step.name}  {time.monotonic() - began:.0f} s  {last[:100]}"
            table.add_row(Spinner("dots"), words)
        return table
