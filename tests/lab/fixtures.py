"""A pytest plugin: the lab for tests, and what keeps its tests in one worker of xdist.

`lab` is one for the whole session; `tencent` and `alibaba` are its two hosts, each bare when a test begins. Where there
can be no lab, tests that ask for it don't run and say why. LAB_KEEP=1 keeps it for the next session (development).
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.lab import machine
from tests.lab.host import LabHost
from tests.lab.lab import Lab

GROUP = "lab"
FIXTURES = {"lab", "tencent", "alibaba"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests go to workers by file, those of the lab all to one: there is one lab, and each test resets its hosts."""
    for item in items:
        uses = FIXTURES & set(getattr(item, "fixturenames", ()))
        item.add_marker(pytest.mark.xdist_group(GROUP if uses else item.nodeid.split("::")[0]))
        if uses:
            _time_the_test_only(item)
    # The longest first: the other workers take all the rest meanwhile.
    items.sort(key=lambda item: not FIXTURES & set(getattr(item, "fixturenames", ())))


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
