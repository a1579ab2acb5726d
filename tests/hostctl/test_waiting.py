"""Waiting for other runs: for how long, for whom, and what of another's change is to be left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hostctl import lock, recovery, service
from hostctl.definitions import parse_service
from hostctl.errors import HostctlError
from hostctl.generations import ROLLING_BACK, busy
from hostctl.lock import Patience
from hostctl.observe import observe
from hostctl.runtime import FAILED, Outcome
from tests.hostctl import samples
from tests.hostctl.fake import FakeHost
from tests.hostctl.test_transaction import ALPHA, BETA, alpha, beta

ASKED: Any = {"databases": {}, "secrets": {}, "containers": []}


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(lock.time, "monotonic", made.monotonic)
    monkeypatch.setattr(lock.time, "sleep", made.sleep)
    return made


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    made = FakeHost(tmp_path / "root", monkeypatch)
    made.host()
    return made


def waits(clock: Clock, whom: Callable[[], str], seconds: float) -> None:
    """Waits for whoever that is, so long or until it gives up."""
    end = clock.now + seconds
    patience = Patience(lambda: "waiting for the host's lock", whom)
    while clock.now < end:
        patience.wait(0.5)


def gives_up_after(clock: Clock, whom: Callable[[], str]) -> float:
    began = clock.now
    with pytest.raises(HostctlError, match=r"^gave up after 10 minutes of waiting for the host's lock$"):
        waits(clock, whom, 5000)
    return clock.now - began


def test_one_holder_that_hangs_is_given_up_after_ten_minutes(clock: Clock) -> None:
    assert 600 <= gives_up_after(clock, lambda: "pid 7") <= 602


def test_a_queue_that_moves_is_waited_for_however_long_it_is(clock: Clock) -> None:
    waits(clock, lambda: str(clock.now // 40), 5000)  # a hundred slow rolls
    assert clock.now >= 6000


def test_the_patience_starts_again_with_the_holder(clock: Clock) -> None:
    """It changes hands once, after nine minutes, and then hangs."""
    began = clock.now
    assert 1140 <= gives_up_after(clock, lambda: str(clock.now - began > 540)) <= 1155


def putting_back(fake: FakeHost, name: str, again: list[str]) -> Callable[..., Any]:
    """What happens while a living run puts the good one back, and waits for it without the lock."""

    def wait(*_: Any) -> Any:
        record = fake.record(name)
        assert record["pending"]["phase"] == ROLLING_BACK
        assert busy(record)
        again.append(observe(fake.context("observe"), ASKED)["services"][name])
        return service.Verdict(True, "", 0.0)

    return wait


def test_a_put_back_of_a_living_run_is_somebody_at_work(fake: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.up(alpha(1), "")
    fake.runtime.sick.add(alpha(2)["digest"])
    told: list[str] = []
    monkeypatch.setattr(recovery.Gate, "wait", putting_back(fake, ALPHA, told))
    monkeypatch.setattr(service, "_await_health", lambda *_: service.Verdict(False, "not healthy", 0.2))
    with pytest.raises(HostctlError, match="Generation 1 serves again"):
        fake.up(alpha(2), "")
    assert told == ["another run is changing it (after generation 1)"]
    fake.assert_sound()


def test_a_restart_waits_for_a_put_back_of_a_living_run(fake: FakeHost, clock: Clock) -> None:
    fake.up(alpha(1), "")
    other = fake.context("up")
    other.store.turn(ALPHA, ROLLING_BACK, other.me)
    pid = fake.runtime.running[ALPHA]
    with pytest.raises(HostctlError, match="gave up after 10 minutes of waiting for the run that changes alpha"):
        fake.act(lambda run: service.restart(run, ALPHA))
    assert fake.runtime.running[ALPHA] == pid
    other.store.abandon(ALPHA)
    fake.act(lambda run: service.restart(run, ALPHA))
    assert fake.runtime.running[ALPHA] != pid
    fake.assert_sound()


def test_what_a_run_has_taken_over_itself_is_in_nobodys_way(fake: FakeHost, clock: Clock) -> None:
    """Secrets are written and, where that fails, put back: the second time the change is this run's own already."""
    fake.up(alpha(1))
    fake.up(beta(1))
    dead = fake.context("up")
    fake.living.discard(fake.pid)
    dead.store.begin(parse_service(samples.raw(alpha(2)), ALPHA), dead.me, "r1")
    times: list[int] = []

    def twice(run: Any) -> None:
        for number in (1, 2):
            service.with_idle(run, [ALPHA, BETA], lambda number=number: times.append(number))

    fake.act(twice)
    assert times == [1, 2]
    fake.assert_sound()


def test_a_restart_that_fails_is_told_with_its_reason_and_log(fake: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.up(alpha())
    fake.runtime.sick.add(alpha()["digest"])
    monkeypatch.setattr(service, "UNCHANGED_SECONDS", 0.0)
    failed = Outcome(FAILED, "its image app:1 is not on this host", ["the new one's last words"])
    monkeypatch.setattr(fake.runtime, "restart", lambda targets: {ALPHA: failed})
    with pytest.raises(HostctlError) as caught:
        fake.up(alpha())
    text = str(caught.value)
    assert "answers HTTP 503; it can't be started again: its image app:1 is not on this host." in text
    assert "nothing to go back to" in text
    assert text.endswith("the new one's last words")
    fake.assert_sound()
