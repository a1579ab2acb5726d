"""A pytest plugin: which tier a test is of, how many ran in each, and which tier did not run and why.

A skipped test is a test that did not run, never one that passed. With `--all-tiers` (`make test`) a tier that
could run and has no test at all fails the run: a green run that proved nothing must not look like one.
"""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

UNIT = "unit"
TIERS = (UNIT, "host", "engine", "bench")


def tier_of(item: pytest.Item) -> str:
    """By marker, else by the folder under tests/; all that is neither is a unit test."""
    for tier in TIERS:
        if item.get_closest_marker(tier):
            return tier
    folders = Path(item.nodeid.split("::")[0]).parts
    return next((tier for tier in TIERS if tier in folders[:-1]), UNIT)


def why_not(tier: str) -> str | None:
    """Why no test of a tier can run here; None when they can."""
    if tier == "engine" and shutil.which("pulumi") is None:
        return "no `pulumi` on PATH"
    return None


@dataclass
class Tally:
    """What became of one tier's tests."""

    collected: int = 0
    ran: int = 0
    failed: int = 0
    skipped: Counter[str] = field(default_factory=Counter[str])

    def line(self, tier: str) -> str:
        not_run = sum(self.skipped.values())
        reasons = "; ".join(
            f"{reason} ({count})" if not_run > count else reason for reason, count in self.skipped.most_common()
        )
        if not self.collected:
            return f"{tier:8} no test"
        if not self.ran and not_run:
            return f"{tier:8} not run, {not_run} test{'s' * (not_run != 1)}: {reasons}"
        text = f"{tier:8} {self.ran} ran"
        if self.failed:
            text += f", {self.failed} of them failed"
        if not_run:
            text += f"; {not_run} not run: {reasons}"
        return text


class Sorter:
    """Writes each test's tier onto its reports, and skips what can't run; under xdist it works in each worker."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            tier = tier_of(item)
            item.user_properties.append(("tier", tier))
            if reason := why_not(tier):
                item.add_marker(pytest.mark.skip(reason=reason))


class Tiers:
    """Counts by tier and prints the result before pytest's closing line."""

    def __init__(self, demand_all: bool) -> None:
        self.demand_all = demand_all
        self.tallies = {tier: Tally() for tier in TIERS}
        self.seen: set[str] = set()
        self.printed: list[str] = []  # what benchmarks measured: a worker's own output goes nowhere

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        tally = self.tallies[str(dict(report.user_properties).get("tier", UNIT))]
        if report.nodeid not in self.seen:
            self.seen.add(report.nodeid)
            tally.collected += 1
        if report.skipped and not hasattr(report, "wasxfail"):
            tally.skipped[reason_of(report)] += 1
        elif report.when == "call":
            self.printed += [str(text) for name, text in report.user_properties if name == "printed"]
            tally.ran += 1
            tally.failed += report.failed
        elif report.failed:  # in its setup (it never ran) or its teardown (counted already)
            tally.ran += report.when == "setup"
            tally.failed += 1

    @property
    def empty(self) -> list[str]:
        return [tier for tier in TIERS if not self.tallies[tier].collected and why_not(tier) is None]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        fine = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        if self.demand_all and self.empty and fine:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.printed:
            terminalreporter.section("measured")
            terminalreporter.write_line("\n".join(self.printed))
        terminalreporter.section("tiers")
        for tier, tally in self.tallies.items():
            if tally.collected or self.demand_all:
                reason = why_not(tier)
                line = tally.line(tier) + (f": {reason}" if reason and not tally.collected else "")
                terminalreporter.line(line)
        if self.demand_all and self.empty:
            terminalreporter.line(f"FAILED: no test was collected for {', '.join(self.empty)}", red=True)


def reason_of(report: pytest.TestReport) -> str:
    """The words of a skip: (file, line, "Skipped: words")."""
    words = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return words.removeprefix("Skipped: ")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-tiers", action="store_true", help="fail when a tier that could run has no test")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.collectonly:
        return
    config.pluginmanager.register(Sorter(), "tiers-sorter")
    if hasattr(config, "workerinput"):  # a worker of xdist: who started it reports
        return
    config.pluginmanager.register(Tiers(config.getoption("--all-tiers")), "tiers-report")
