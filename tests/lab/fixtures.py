"""A pytest plugin: the lab for tests, and what keeps its tests in one worker of xdist.

`lab` is one for the whole session; `tencent` and `alibaba` are its two hosts, each bare when a test begins. Where there
can be no lab, tests that ask for it don't run and say why. LAB_KEEP=1 keeps it for the next session (development).
"""

from __future__ import annotations

import functools
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from tests.lab import machine
from tests.lab.host import LabHost
from tests.lab.lab import Lab

FIXTURES = {"lab", "tencent", "alibaba"}
OURS = "the lab"


@functools.cache
def is_of_the_lab(file: str) -> bool:
    """Whether a test file drives the lab: it imports from tests.lab, for its types if for nothing else."""
    try:
        text = Path(file).read_text(encoding="utf-8")
    except OSError:
        return False
    return re.search(r"^\s*(from|import) tests\.lab\b", text, re.MULTILINE) is not None


class Files(LoadFileScheduling):
    """Whole files go to workers, the lab's files all to the same one: there is one lab, and each test resets its hosts.

    xdist's own groups don't do it: `--dist loadgroup` (3.8) takes every test for a group of its own under pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return OURS if is_of_the_lab(str(self.config.rootpath / file)) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Files | None:
    """In the process that hands tests out to workers."""
    if config.getvalue("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False  # the order below is the better one
    return Files(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The lab's tests first, as they take longest and the other workers do the rest meanwhile; then other hosts' and by
    files' sizes: what comes last is quick, so that no worker waits long for the other."""
    sizes = Counter(item.path for item in items)
    for item in items:
        if FIXTURES & set(getattr(item, "fixturenames", ())):
            if not is_of_the_lab(str(item.path)):
                raise pytest.UsageError(f"{item.nodeid} uses the lab: import its types from tests.lab in that file")
            _time_the_test_only(item)
    items.sort(key=lambda item: (_turn(item), -sizes[item.path], str(item.path)))


def _turn(item: pytest.Item) -> int:
    if is_of_the_lab(str(item.path)):
        return 0
    return 1 if item.get_closest_marker("host") else 2


def _time_the_test_only(item: pytest.Item) -> None:
    """Whichever test is first waits until the lab is built: that isn't the test's own time."""
    marker = item.get_closest_marker("timeout")
    seconds = marker.args[0] if marker and marker.args else float(item.config.getini("timeout") or 0)
    item.add_marker(pytest.mark.timeout(seconds, func_only=True), append=False)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The session's lab, without hosts yet."""
    reason = machine.why_not()
    if reason:
        pytest.skip(reason)
    made = Lab("kept" if os.environ.get("LAB_KEEP") == "1" else "")
    try:
        yield made
    finally:
        made.close()


def _bare(lab: Lab, kind: str) -> LabHost:
    fresh = kind not in lab.hosts
    if fresh:
        lab.start(*({"tencent", "alibaba"} - set(lab.hosts)))
    else:
        lab.hosts[kind].reset()
    return lab.hosts[kind]


@pytest.fixture
def tencent(lab: Lab) -> LabHost:
    """A bare tencent-like server."""
    return _bare(lab, "tencent")


@pytest.fixture
def alibaba(lab: Lab) -> LabHost:
    """A bare alibaba-like server."""
    return _bare(lab, "alibaba")
