"""One service is one transaction (design: "How a host converges"), with a runtime in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hostctl import recovery, secretfiles, service
from hostctl.definitions import parse_service
from hostctl.errors import BadInput, HostctlError, Interrupted
from hostctl.layout import write_atomic
from hostctl.redact import read_secrets
from hostctl.runtime import OLDER_SECRETS
from tests.hostctl import samples
from tests.hostctl.fake import Crash, FakeHost, FakeRuntime

ALPHA, BETA = "alpha-service", "beta-service"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    made = FakeHost(tmp_path / "root", monkeypatch)
    made.host()
    return made


def alpha(version: int = 1, **changes: Any) -> dict[str, Any]:
    return made(ALPHA, 8301, version, **changes)


def beta(version: int = 1, **changes: Any) -> dict[str, Any]:
    return made(BETA, 8302, version, **changes)


def made(name: str, port: int, version: int, **changes: Any) -> dict[str, Any]:
    definition = samples.service(name, port, env={"VERSION": str(version)}, **({"timeout": 0.2} | changes))
    FakeRuntime.ports[definition["digest"]] = str(port)
    return definition


def test_up_then_up_again_restarts_nothing(fake: FakeHost) -> None:
    assert fake.up(alpha(), "")["outcome"] == "started"
    pid = fake.runtime.running[ALPHA]
    assert fake.up(alpha(), "")["outcome"] == "unchanged"
    assert fake.runtime.running[ALPHA] == pid
    assert fake.record(ALPHA)["good"] == 1
    fake.assert_sound()


def test_a_changed_definition_is_a_new_generation(fake: FakeHost) -> None:
    fake.up(alpha(1))
    fake.up(beta())
    other = fake.runtime.running[BETA]
    assert fake.up(alpha(2)) == {
        "name": ALPHA,
        "generation": 2,
        "digest": alpha(2)["digest"],
        "outcome": "restarted",
    }
    assert fake.runtime.running[BETA] == other
    fake.assert_sound()


def test_an_unhealthy_one_is_rolled_back_with_its_last_lines(fake: FakeHost) -> None:
    fake.up(alpha(1), "first")
    fake.runtime.sick.add(alpha(2)["digest"])
    with pytest.raises(HostctlError) as caught:
        fake.up(alpha(2), "second")
    text = str(caught.value)
    assert "alpha-service did not come up: not healthy within 0.2 s" in text
    assert "Generation 1 serves again." in text
    assert "the last line of alpha-service" in text
    assert fake.record(ALPHA)["label"] == "first"
    fake.assert_sound()


@pytest.mark.parametrize("error", [HostctlError("Docker doesn't answer"), PermissionError(13, "Permission denied")])
def test_a_log_that_cant_be_read_is_no_reason_not_to_roll_back(fake: FakeHost, error: Exception) -> None:
    fake.up(alpha(1))
    fake.runtime.sick.add(alpha(2)["digest"])
    fake.runtime.log = error
    with pytest.raises(HostctlError) as caught:
        fake.up(alpha(2))
    assert "Generation 1 serves again." in str(caught.value)
    assert f"Its log can't be read: {error}" in str(caught.value)
    fake.assert_sound()


def test_a_long_line_is_cut_once_its_secrets_are_masked(fake: FakeHost) -> None:  # D6
    write_atomic(fake.context().layout.secret_file(ALPHA), 'KEY="hunter2hunter2"\n')
    fake.runtime.log = ["x" * 490 + "hunter2hunter2" + "y" * 100]
    fake.runtime.dying.add(alpha()["digest"])
    with pytest.raises(HostctlError) as caught:
        fake.up(alpha())
    last = str(caught.value).splitlines()[-1]
    assert last == "  " + "x" * 490 + "***" + "y" * 7 + "…"


def test_a_rollback_that_fails_is_finished_by_the_next_run(fake: FakeHost) -> None:
    fake.up(alpha(1), "first")
    fake.runtime.sick.add(alpha(2)["digest"])

    def stuck(what: str) -> None:
        if what == f"started {ALPHA}":
            fake.runtime.stuck.add(ALPHA)

    fake.runtime.step = stuck
    with pytest.raises(HostctlError, match="It could not be rolled back either: alpha-service is stuck"):
        fake.up(alpha(2), "second")
    assert fake.runtime.running[ALPHA][0] == alpha(2)["digest"]
    assert fake.record(ALPHA)["pending"]["phase"] == "rolling-back"
    fake.runtime.step = fake.step
    fake.runtime.stuck.clear()
    fake.up(beta())
    assert fake.runtime.running[ALPHA][0] == alpha(1)["digest"]
    assert fake.record(ALPHA)["label"] == "first"
    fake.assert_sound()


def test_a_new_one_that_cant_be_removed_is_not_forgotten(fake: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    fake.runtime.dying.add(alpha()["digest"])
    fake.runtime.stuck.add(ALPHA)
    with pytest.raises(HostctlError, match="It could not be rolled back either: alpha-service is stuck"):
        fake.up(alpha())
    fake.up(beta())
    assert fake.record(ALPHA)["pending"]["phase"] == "rolling-back"
    assert "can't be removed yet; the next run tries again" in capsys.readouterr().err
    fake.runtime.stuck.clear()
    fake.up(beta())
    assert fake.record(ALPHA) is None
    fake.assert_sound()


def test_a_restart_that_the_runtime_fails_at_is_told(fake: FakeHost) -> None:
    fake.up(alpha())
    fake.runtime.stuck.add(ALPHA)
    with pytest.raises(HostctlError, match="alpha-service can't be restarted: alpha-service is stuck"):
        fake.act(lambda run: service.restart(run, ALPHA))


def test_secrets_that_a_service_cant_be_restarted_with_are_put_back(
    fake: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition = alpha(secrets=[ALPHA])
    fake.act(lambda run: secretfiles.write(run, ALPHA, {"KEY": "one"}))
    fake.up(definition)
    monkeypatch.setattr(fake.runtime, "differs", lambda *_: OLDER_SECRETS)
    fake.runtime.stuck.add(ALPHA)
    with pytest.raises(HostctlError, match="alpha-service is stuck"):
        fake.act(lambda run: secretfiles.write(run, ALPHA, {"KEY": "two"}))
    assert read_secrets(fake.context().layout, ALPHA) == {"KEY": "one"}


def test_a_new_one_that_fails_leaves_nothing(fake: FakeHost) -> None:
    fake.runtime.dying.add(alpha()["digest"])
    with pytest.raises(HostctlError, match="It was new, so it was removed again"):
        fake.up(alpha())
    assert fake.record(ALPHA) is None
    assert ALPHA not in (fake.root / samples.CONF).read_text()
    assert not (fake.root / "data" / ALPHA).exists()
    fake.assert_sound()


def test_a_first_label_is_adopted_and_every_other_label_is_a_generation(fake: FakeHost) -> None:
    fake.up(alpha(), "")
    assert (fake.record(ALPHA)["label"], fake.record(ALPHA)["good"]) == ("", 1)
    fake.up(alpha(), "process not running (after generation 1)")
    assert fake.record(ALPHA)["label"] == "process not running (after generation 1)"
    assert fake.record(ALPHA)["good"] == 2
    fake.up(alpha())  # an offline run says no label: the old one stays
    assert fake.record(ALPHA)["label"] == "process not running (after generation 1)"
    assert fake.record(ALPHA)["good"] == 2


def test_one_reload_for_all_that_wait(fake: FakeHost) -> None:
    fake.up(alpha(1))
    before = fake.runtime.reloads
    waiting = fake.context()
    line_up(fake, waiting, beta())
    fake.up(alpha(2))
    assert fake.runtime.reloads == before + 1
    assert set(fake.runtime.running) == {ALPHA, BETA}


def test_a_bad_one_in_the_group_fails_alone(fake: FakeHost) -> None:
    waiting = fake.context()
    broken = beta()
    broken["parts"][1]["text"] = "not a section\n" + broken["parts"][1]["text"] + "a line without a value\n"
    request = line_up(fake, waiting, broken)
    assert fake.up(alpha())["outcome"] == "started"
    result = waiting.queue.result(request)
    assert result is not None
    assert "supervisord.conf" in result["error"]
    assert set(fake.runtime.running) == {ALPHA}
    fake.assert_sound()


def test_one_that_only_the_runtime_refuses_fails_alone_too(fake: FakeHost) -> None:
    fake.runtime.unreadable = "refuse me"
    waiting = fake.context()
    broken = beta()
    broken["parts"][1]["text"] += "stdout_events=refuse me\n"
    request = line_up(fake, waiting, broken)
    assert fake.up(alpha())["outcome"] == "started"
    result = waiting.queue.result(request)
    assert result is not None
    assert result["error"] == "the file can't be read"
    fake.assert_sound()


def test_a_refused_file_is_put_back(fake: FakeHost) -> None:
    fake.up(alpha(1))
    text = (fake.root / samples.CONF).read_text()
    fake.runtime.unreadable = "refuse me"
    broken = alpha(2)
    broken["parts"][1]["text"] += "stdout_events=refuse me\n"
    with pytest.raises(HostctlError, match="the file can't be read"):
        fake.up(broken)
    assert (fake.root / samples.CONF).read_text() == text
    fake.assert_sound()


def test_the_request_of_a_dead_one_is_dropped(fake: FakeHost) -> None:
    waiting = fake.context()
    line_up(fake, waiting, beta())
    fake.living.discard(waiting.me["pid"])
    fake.up(alpha())
    assert set(fake.runtime.running) == {ALPHA}
    fake.assert_sound()


def test_who_is_interrupted_while_waiting_changed_nothing(fake: FakeHost) -> None:
    run = fake.context()
    run.signals.stop = True
    parsed = parse_service(samples.raw(alpha()), ALPHA)
    with pytest.raises(Interrupted, match="nothing was changed"):
        service.up(run, parsed, None)
    fake.living.discard(run.me["pid"])
    assert fake.runtime.running == {}
    fake.assert_sound()


def test_ctrl_c_while_waiting_for_health_rolls_back(fake: FakeHost) -> None:
    fake.up(alpha(1))
    fake.runtime.sick.add(alpha(2)["digest"])

    def act(run: Any) -> Any:
        run.runtime.step = lambda what: setattr(run.signals, "stop", True)
        return service.up(run, parse_service(samples.raw(alpha(2, timeout=60)), ALPHA), None)

    fake.runtime.sick.add(alpha(2, timeout=60)["digest"])
    with pytest.raises(Interrupted, match="interrupted"):
        fake.act(act)
    fake.runtime.step = fake.step
    assert fake.runtime.running[ALPHA][0] == alpha(1)["digest"]
    fake.assert_sound()


def test_another_environment_is_refused(fake: FakeHost) -> None:
    with pytest.raises(BadInput, match="environment 'tencent', but this host's is 'local'"):
        fake.up(alpha() | {"environment": "tencent"})


def test_a_digest_stands_for_one_thing_only(fake: FakeHost) -> None:
    fake.up(alpha(1))
    with pytest.raises(HostctlError, match="already stands for other settings"):
        fake.up(alpha(2) | {"digest": alpha(1)["digest"]})
    fake.assert_sound()


def test_a_file_that_the_host_does_not_have_is_refused(fake: FakeHost) -> None:
    strange = alpha()
    strange["parts"].append({"file": "other.conf", "order": 1, "text": "x\n"})
    with pytest.raises(HostctlError, match=r"a part is for the file 'other\.conf'"):
        fake.up(strange)
    fake.assert_sound()


def test_five_generations_are_kept(fake: FakeHost) -> None:
    for version in range(1, 9):
        fake.up(alpha(version))
    kept = sorted(path.name for path in (fake.root / "state/generations" / ALPHA).iterdir())
    assert kept == [f"00000{number}.json" for number in range(4, 9)]
    assert len(list((fake.root / "state/definitions" / ALPHA).iterdir())) == 5


def line_up(fake: FakeHost, run: Any, definition: dict[str, Any]) -> Any:
    parsed = parse_service(samples.raw(definition), definition["name"])
    request: Any = {
        "id": f"{0:020d}-{run.me['pid']}",
        "name": definition["name"],
        "definition": parsed,
        "owner": run.me,
        "who": "a test",
    }
    run.queue.put(request)
    return request


def test_the_good_files_are_back_before_anybody_else_has_the_lock(
    fake: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes next would start, or recreate, what has just failed."""
    fake.up(alpha(1))
    fake.runtime.stuck.add(ALPHA)
    text = fake.root / samples.CONF
    good = text.read_text()
    found: list[str] = []

    def put_back(context: Any, name: str) -> None:
        assert fake.record(ALPHA)["pending"]["phase"] == "rolling-back"
        found.append(text.read_text())
        raise HostctlError("not now")

    monkeypatch.setattr(recovery, "put_back", put_back)
    with pytest.raises(HostctlError, match="did not come up"):
        fake.up(alpha(2))
    assert found == [good]


def test_one_that_can_not_be_started_again_says_why(fake: FakeHost) -> None:
    fake.up(alpha(1))
    fake.runtime.sick.add(alpha(1)["digest"])
    fake.runtime.stuck.add(ALPHA)
    with pytest.raises(HostctlError, match="it can't be started again: alpha-service is stuck"):
        fake.up(alpha(1))


def test_a_way_back_that_can_not_be_gone_yet_is_not_forgotten(fake: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs then is not what is on record as good."""
    fake.up(alpha(1))
    fake.runtime.sick.add(alpha(2)["digest"])
    with monkeypatch.context() as patch:
        patch.setattr(recovery, "put_back", _dies)
        fake.up(alpha(2))
    store = fake.context().store
    record = store.record(ALPHA)
    assert record is not None
    assert record["pending"] is not None
    record["pending"].update(phase="rolling-back", owner={**record["pending"]["owner"], "pid": 2**22})
    store.save(record)
    fake.runtime.stuck.add(ALPHA)
    fake.runtime.sick.clear()
    fake.up(beta())
    assert fake.record(ALPHA)["pending"]["phase"] == "rolling-back"
    fake.runtime.stuck.clear()
    fake.up(beta())
    assert fake.record(ALPHA)["pending"] is None
    assert fake.runtime.running[ALPHA][0] == alpha(1)["digest"]


def _dies(*_: object) -> None:
    raise Crash
