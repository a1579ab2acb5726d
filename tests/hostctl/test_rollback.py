"""`rollback` and `generations`: one service back to what it was before, as one transaction of its own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostctl import cli, generations, rollback
from hostctl.errors import BadInput, HostctlError
from hostctl.layout import read_json, write_atomic, write_json
from hostctl.observe import observe
from tests.hostctl.fake import FakeHost
from tests.hostctl.test_transaction import ALPHA, BETA, alpha, beta, line_up

ASKED: Any = {"databases": {}, "secrets": {}, "containers": []}
MOST_STEPS = 200


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    return prepared(tmp_path / "root", monkeypatch)


def prepared(root: Path, patch: pytest.MonkeyPatch) -> FakeHost:
    made = FakeHost(root, patch)
    made.host()
    return made


def back(fake: FakeHost, to: int | None = None, crash_at: int | None = None) -> Any:
    return fake.act(lambda run: rollback.back(run, ALPHA, to), crash_at)


def rows(fake: FakeHost) -> list[dict[str, Any]]:
    return rollback.generations(fake.context(), ALPHA)


def label(fake: FakeHost) -> str:
    return observe(fake.context(), ASKED)["services"][ALPHA]


def runs(fake: FakeHost) -> str:
    return fake.runtime.running[ALPHA][0]


def audit(fake: FakeHost, verb: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (fake.root / "state/audit.log").read_text().splitlines()]
    return [line for line in lines if line["verb"] == verb]


def test_back_to_the_one_before_and_forward_again(fake: FakeHost) -> None:
    fake.up(beta(), "")
    fake.up(alpha(1), "")
    fake.up(alpha(2), "")
    other = fake.runtime.running[BETA]
    assert back(fake) == {"name": ALPHA, "generation": 3, "from": 2, "to": 1, "outcome": "restarted"}
    assert runs(fake) == alpha(1)["digest"]
    assert fake.runtime.running[BETA] == other
    fake.assert_sound()
    said = "rolled back to generation 1 by hand (after generation 2)"
    assert [label(fake), label(fake)] == [said, said]
    (line,) = audit(fake, "rollback")
    assert (line["outcome"], line["generation"], line["from"], line["to"]) == ("restarted", 3, 2, 1)
    # What a preview shows now is brought up again, and the label adopted: the next preview is clean.
    assert fake.up(alpha(2), said)["outcome"] == "restarted"
    assert (label(fake), runs(fake)) == (said, alpha(2)["digest"])
    assert fake.up(alpha(2), said)["outcome"] == "unchanged"
    fake.assert_sound()
    # Another rollback never looks like the one that was adopted.
    back(fake)
    assert label(fake) == "rolled back to generation 3 by hand (after generation 4)"


def test_something_else_that_happens_afterwards_is_told_instead(fake: FakeHost) -> None:
    fake.up(alpha(1), "")
    fake.up(alpha(2), "")
    back(fake)
    del fake.runtime.running[ALPHA]
    assert label(fake) == "process not running (after generation 3)"


def test_back_from_a_rollback_is_what_it_left(fake: FakeHost) -> None:
    fake.up(alpha(1))
    fake.up(alpha(2))
    assert (back(fake)["to"], back(fake)["to"], back(fake)["to"]) == (1, 2, 3)
    assert runs(fake) == alpha(1)["digest"]
    fake.assert_sound()


def test_one_that_was_never_healthy_is_nothing_to_go_back_to(fake: FakeHost) -> None:
    fake.up(alpha(1))
    fake.runtime.sick.add(alpha(2)["digest"])
    with pytest.raises(HostctlError):
        fake.up(alpha(2))
    fake.up(alpha(3))
    assert [(row["generation"], row["good"], row["serves"]) for row in rows(fake)] == [
        (3, True, True),
        (2, False, False),
        (1, True, False),
    ]
    assert back(fake)["to"] == 1
    fake.runtime.sick.clear()
    assert back(fake, 2)["to"] == 2  # who asks for it by its number gets it, when it is healthy
    assert runs(fake) == alpha(2)["digest"]


def test_one_that_fails_puts_the_current_one_back(fake: FakeHost) -> None:
    fake.up(alpha(1), "first")
    fake.up(alpha(2), "second")
    fake.runtime.sick.add(alpha(1)["digest"])
    with pytest.raises(HostctlError) as caught:
        back(fake)
    assert "alpha-service did not come up: not healthy within 0.2 s" in str(caught.value)
    assert "Generation 2 serves again." in str(caught.value)
    assert caught.value.exit_code == 1
    assert (runs(fake), label(fake)) == (alpha(2)["digest"], "second")
    assert audit(fake, "rollback")[-1]["outcome"] == "failed"
    fake.assert_sound()


@pytest.mark.parametrize("trouble", ["sick", "gone", "edited"])
def test_from_one_that_does_not_serve(fake: FakeHost, trouble: str) -> None:
    fake.up(alpha(1))
    fake.up(alpha(2))
    if trouble == "sick":
        fake.runtime.sick.add(alpha(2)["digest"])
    elif trouble == "gone":
        del fake.runtime.running[ALPHA]
    else:
        (fake.root / "supervisord.conf").write_text("")
    assert back(fake)["outcome"] in ("started", "restarted")
    assert runs(fake) == alpha(1)["digest"]
    fake.assert_sound()


def test_what_can_not_be_asked(fake: FakeHost) -> None:
    with pytest.raises(BadInput, match="alpha-service is no service of this host"):
        back(fake)
    with pytest.raises(BadInput, match="alpha-service is no service of this host"):
        rows(fake)
    fake.up(alpha(1))
    nothing = "no generation before 1 that was healthy and said something else"
    with pytest.raises(HostctlError, match=nothing) as caught:
        back(fake)
    assert caught.value.exit_code == 1
    fake.up(alpha(1), "process not running (after generation 1)")  # a repair is a generation of the same
    with pytest.raises(HostctlError, match="no generation before 2"):
        back(fake)
    with pytest.raises(BadInput, match="generation 7 of alpha-service is not kept; there are: 1, 2"):
        back(fake, 7)
    with pytest.raises(BadInput, match="generation 1 of alpha-service is what generation 2 is, which serves"):
        back(fake, 1)
    assert audit(fake, "rollback") == []
    fake.assert_sound()


def test_on_a_host_that_never_converged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.umask", lambda _: 0o022)  # it is of the whole process, which is ours here
    assert cli.main(["--root", str(tmp_path / "none"), "rollback", ALPHA]) == 2
    assert cli.main(["--root", str(tmp_path / "none"), "generations", ALPHA]) == 2
    assert "is no service of this host" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_one_that_another_run_is_changing(fake: FakeHost) -> None:
    fake.up(alpha(1))
    fake.up(alpha(2))
    other = fake.context()
    other.store.turn(ALPHA, generations.STARTING, other.me)
    with pytest.raises(HostctlError) as caught:
        back(fake)
    said = rf"alpha-service can't go back now: pid {other.me['pid']} is changing it, since \d s; nothing was touched"
    assert re.fullmatch(said, str(caught.value))
    assert (caught.value.exit_code, runs(fake)) == (1, alpha(2)["digest"])


def test_what_is_missing_for_it_is_told_before_anything_is_touched(
    fake: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.up(alpha(1))
    fake.up(alpha(2))
    before = fake.runtime.running[ALPHA]
    monkeypatch.setattr(fake.runtime, "service_problems", lambda definition: ["its image x:1 is not on this host"])
    with pytest.raises(HostctlError) as caught:
        back(fake)
    assert str(caught.value) == (
        "alpha-service can't go back to generation 1: its image x:1 is not on this host; nothing was touched"
    )
    assert (fake.runtime.running[ALPHA], fake.record(ALPHA)["good"]) == (before, 2)


def test_it_waits_for_nobody_else_and_goes_with_the_group(fake: FakeHost) -> None:
    fake.up(alpha(1))
    fake.up(alpha(2))
    before = fake.runtime.reloads
    waiting = fake.context()
    line_up(fake, waiting, beta())
    back(fake)
    assert fake.runtime.reloads == before + 1
    assert set(fake.runtime.running) == {ALPHA, BETA}


def kept(fake: FakeHost) -> list[int]:
    return sorted(int(path.stem) for path in (fake.root / "state/generations" / ALPHA).iterdir())


def test_what_serves_and_what_it_goes_back_to_are_kept_whatever_comes_in_between(fake: FakeHost) -> None:
    fake.up(alpha(1))
    fake.up(alpha(2))
    for number in range(2, 12):
        fake.up(alpha(2), f"process not running (after generation {number})")
    assert kept(fake) == [1, 8, 9, 10, 11, 12]
    for version in range(3, 10):
        fake.runtime.sick.add(alpha(version)["digest"])
        with pytest.raises(HostctlError):
            fake.up(alpha(version))
    assert back(fake)["to"] == 1
    fake.assert_sound()
    for _ in range(12):
        back(fake)
    assert len(kept(fake)) == 5
    assert fake.record(ALPHA)["good"] == max(kept(fake))
    assert runs(fake) == alpha(1)["digest"]


def test_updates_that_fail_are_not_kept_for_ever(fake: FakeHost) -> None:
    fake.up(alpha(1))
    fake.up(alpha(2))
    for version in range(3, 12):
        fake.runtime.sick.add(alpha(version)["digest"])
        with pytest.raises(HostctlError):
            fake.up(alpha(version))
    assert kept(fake) == [1, 2, 7, 8, 9, 10, 11]
    assert len(list((fake.root / "state/definitions" / ALPHA).iterdir())) == 7


@given(st.lists(st.sampled_from(["up", "sick", "repair", "back"]), max_size=25))
@settings(deadline=None, max_examples=25)
def test_a_rollback_always_finds_what_served_before(
    tmp_path_factory: pytest.TempPathFactory, doings: list[str]
) -> None:
    """Whatever happened: the good one is on record, and so is the last other one that was good, while there is any."""
    with pytest.MonkeyPatch.context() as patch:
        fake = prepared(tmp_path_factory.mktemp("rollback") / "root", patch)
        version, served = 1, [1]  # versions that were good, the latest last, none twice in a row
        fake.up(alpha(1))
        for number, doing in enumerate(doings):
            if doing == "up":
                version += 1
                fake.up(alpha(version))
                served.append(version)
            elif doing == "sick":
                version += 1
                fake.runtime.sick.add(alpha(version)["digest"])
                with pytest.raises(HostctlError):
                    fake.up(alpha(version))
            elif doing == "repair":
                fake.up(alpha(served[-1]), f"repair {number}")
            elif len(served) > 1:
                back(fake)
                served.append(served[-2])
            else:
                with pytest.raises(HostctlError, match="nothing to go back to"):
                    back(fake)
            assert runs(fake) == alpha(served[-1])["digest"]
            assert fake.record(ALPHA)["good"] in kept(fake)
            assert len(kept(fake)) <= generations.KEPT + 2  # those two beside the newest


def test_killed_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run leaves one of the two, whole; a rollback that is asked for again comes to its end."""
    for step in range(MOST_STEPS):
        with monkeypatch.context() as patch:
            fake = prepared(tmp_path / f"step{step}", patch)
            fake.up(beta(1), "")
            fake.up(alpha(1), "")
            fake.up(alpha(2), "")
            finished = back(fake, crash_at=step)
            seen = f"after {len(fake.steps)} steps, the last of them: {fake.steps[-1:]}"
            fake.up(beta(1))
            fake.assert_sound()
            said = label(fake)
            if runs(fake) == alpha(2)["digest"]:
                assert said == "", seen
            else:
                assert said in (
                    "rolled back to generation 1 by hand (after generation 2)",
                    "interrupted while generation 3 converged",
                ), seen
            fake.up(alpha(2), said)
            assert (label(fake), runs(fake)) == (said, alpha(2)["digest"]), seen
        if finished is not None:
            assert step > 5
            return
    pytest.fail("it never came to its end")


def test_killed_and_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in range(0, MOST_STEPS, 2):
        with monkeypatch.context() as patch:
            fake = prepared(tmp_path / f"step{step}", patch)
            fake.up(alpha(1), "")
            fake.up(alpha(2), "")
            finished = back(fake, crash_at=step)
            if finished is not None:
                assert step > 5
                return
            if fake.record(ALPHA)["good"] == 2:
                back(fake)
                assert runs(fake) == alpha(1)["digest"]
                fake.assert_sound()
                assert label(fake) == "rolled back to generation 1 by hand (after generation 2)"
    pytest.fail("it never came to its end")


def test_records_of_an_older_hostctl_have_no_word_on_it(fake: FakeHost) -> None:
    fake.up(alpha(1))
    fake.up(alpha(2))
    for path in (fake.root / "state/generations").rglob("*.json"):
        value = read_json(path)
        del value["good"], value["definition"]["files"]
        write_json(path, value)
    assert [row["good"] for row in rows(fake)] == [True, True]
    assert fake.up(alpha(2))["outcome"] == "unchanged"
    assert back(fake)["to"] == 1


def test_for_people_and_for_programs(fake: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    write_atomic(fake.context().layout.secret_file(ALPHA), 'KEY="hunter2hunter2"\n')
    fake.up(alpha(1, secrets=[ALPHA]))
    fake.runtime.sick.add(alpha(2, secrets=[ALPHA])["digest"])
    with pytest.raises(HostctlError):
        fake.up(alpha(2, secrets=[ALPHA]))
    fake.up(alpha(3, secrets=[ALPHA]))
    capsys.readouterr()
    out: list[str] = []
    table = rollback.table(rows(fake))
    lines = [re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "WHEN", line).split() for line in table.splitlines()]
    assert lines == [
        ["GENERATION", "WHEN", "STATE", "DIGEST", "IMAGE"],
        ["3", "WHEN", "serves", alpha(3, secrets=[ALPHA])["digest"], "-"],
        ["2", "WHEN", "never", "healthy", alpha(2, secrets=[ALPHA])["digest"], "-"],
        ["1", "WHEN", "good", alpha(1, secrets=[ALPHA])["digest"], "-"],
    ]
    out.append(table)
    out.append(json.dumps(rows(fake)))
    assert not any("hunter2" in text for text in out)  # D6
