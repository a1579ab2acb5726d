"""A run that is killed, or finds the disk full, at any of its steps: the next one leaves the host whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hostctl.errors import HostctlError
from tests.hostctl.fake import FakeHost
from tests.hostctl.test_transaction import ALPHA, BETA, alpha, beta

MOST_STEPS = 200

Run = Callable[[FakeHost, "int | None"], Any]


def change(fake: FakeHost, crash_at: int | None) -> Any:
    return fake.up(alpha(2), "repaired", crash_at)


def change_to_a_sick_one(fake: FakeHost, crash_at: int | None) -> Any:
    fake.runtime.sick.add(alpha(2)["digest"])
    try:
        return fake.up(alpha(2), "repaired", crash_at)
    except HostctlError as error:
        return str(error)


def removal(fake: FakeHost, crash_at: int | None) -> Any:
    return fake.down(ALPHA, crash_at)


def first_time(fake: FakeHost, crash_at: int | None) -> Any:
    return fake.up(alpha(1), "", crash_at)


def first_time_sick(fake: FakeHost, crash_at: int | None) -> Any:
    fake.runtime.sick.add(alpha(1)["digest"])
    try:
        return fake.up(alpha(1), "", crash_at)
    except HostctlError as error:
        return str(error)


def adoption(fake: FakeHost, crash_at: int | None) -> Any:
    return fake.up(alpha(1), "its block in supervisord.conf was edited (after generation 1)", crash_at)


@pytest.mark.parametrize(
    ("run", "there_before"),
    [
        (change, True),
        (change_to_a_sick_one, True),
        (removal, True),
        (adoption, True),
        (first_time, False),
        (first_time_sick, False),
    ],
)
@pytest.mark.parametrize("full_disk", [False, True])
def test_ended_at_every_step(
    run: Run, there_before: bool, full_disk: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A full disk ends a run at the same places as a kill does; a sample of them is enough.
    for step in range(0, MOST_STEPS, 4 if full_disk else 1):
        with monkeypatch.context() as patch:
            fake = prepared(tmp_path / f"step{step}", patch, there_before)
            other = fake.runtime.running[BETA]
            fake.full_disk = full_disk
            finished = run(fake, step)
            seen = list(fake.steps)
            fake.up(beta(1))
            context = f"after {len(seen)} steps, the last of them: {seen[-1:]}"
            try:
                fake.assert_sound()
            except AssertionError as error:
                raise AssertionError(f"ended {context}: {error}") from error
            assert fake.runtime.running[BETA] == other, context
            told = fake.record(ALPHA)
            if told is not None:
                assert told["label"] in ("", "repaired", "interrupted while generation 2 converged") or (
                    "generation 1" in told["label"]
                ), context
            fake.runtime.sick.clear()
            assert fake.up(alpha(3), "adopted")["name"] == ALPHA
            assert fake.record(ALPHA)["label"] == "adopted"
            fake.assert_sound()
            if finished is not None:
                assert step > 5
                return
    pytest.fail("it never came to its end")


def test_killed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run that recovers is killed as well, at any of its steps."""
    for first in range(0, 30, 3):
        for second in range(0, 40, 4):
            with monkeypatch.context() as patch:
                fake = prepared(tmp_path / f"{first}-{second}", patch, True)
                other = fake.runtime.running[BETA]
                change(fake, first)
                fake.up(beta(1), None, second)
                fake.up(beta(1))
                fake.assert_sound()
                assert fake.runtime.running[BETA] == other


def test_an_interrupted_one_that_is_healthy_stays_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = prepared(tmp_path / "root", monkeypatch, True)
    steps = next(number for number in range(MOST_STEPS) if crashed_after(fake, number, f"started {ALPHA}"))
    assert steps
    fake.up(beta(1))
    assert fake.runtime.running[ALPHA][0] == alpha(2)["digest"]
    assert fake.record(ALPHA)["label"] == "interrupted while generation 2 converged"
    assert "although its run was interrupted" in capsys.readouterr().err
    fake.assert_sound()


def crashed_after(fake: FakeHost, number: int, step: str) -> bool:
    fake.up(alpha(2), "repaired", number)
    return fake.steps[-1:] == [step]


def prepared(root: Path, patch: pytest.MonkeyPatch, there_before: bool) -> FakeHost:
    fake = FakeHost(root, patch)
    fake.host()
    fake.up(beta(1), "")
    if there_before:
        fake.up(alpha(1), "")
    return fake
