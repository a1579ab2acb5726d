"""The `local` environment as its users see it: the whole program, real processes, on free ports."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.program_copy import SERVICES, ProgramCopy, program_copy, wait_for

pytestmark = [pytest.mark.host, pytest.mark.timeout(400)]

CRASHES = ["python", "-c", "import sys; print('boom: no such table'); sys.exit(3)"]
KILLS = 40 if os.environ.get("SOAK") else 5


@contextmanager
def clone() -> Iterator[ProgramCopy]:
    # A short path: supervisorctl can't reach a socket behind a long one (hostctl can).
    with tempfile.TemporaryDirectory(prefix="项目 ") as folder, program_copy(Path(folder) / "a clone") as made:
        yield made


@pytest.fixture
def copy() -> Iterator[ProgramCopy]:
    with clone() as made:
        yield made


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[ProgramCopy, str, dict[str, int]]]:
    """A copy, its stack file and its ports before anybody changed them."""
    with clone() as made:
        yield made, (made.folder / "Pulumi.local.yaml").read_text(), dict(made.ports)


@pytest.fixture
def running(shared: tuple[ProgramCopy, str, dict[str, int]]) -> ProgramCopy:
    """One for all who ask: whatever the one before has left, the stack file is as it was and has converged."""
    copy, text, ports = shared
    (copy.folder / "Pulumi.local.yaml").write_text(text)
    copy.ports = dict(ports)
    copy.run("up")
    return copy


def test_up_again_and_destroy(copy: ProgramCopy) -> None:  # P1, P9
    done = copy.run("up")
    assert "19 created" in done.stdout
    for name in SERVICES:
        assert copy.get(name, "/health")[0] == 200, name
        code, info = copy.get(name, "/info")
        assert (code, info["name"], info["mode"], info["chains"]) == (200, name, "development", ["simulation"])
        assert info["stand_in"] is True
    env = (copy.folder / ".local/blockchain-local.env").read_text().splitlines()
    assert env[0] == "# blockchain-local.env"
    assert f"IDENTITY_SERVICE_PORT={copy.ports['identity-service']}" in env
    before = copy.pids()
    assert set(before) == set(SERVICES)
    began = time.monotonic()
    again = copy.run("up")
    assert time.monotonic() - began < 10, "the second `up` is quick, on a loaded machine as well"
    assert "19 unchanged" in again.stdout
    assert "created" not in again.stdout
    assert copy.pids() == before
    copy.run("preview", "--expect-no-changes")
    outputs = json.loads(copy.run("outputs", "--json").stdout)
    assert outputs["endpoints"]["identity-service"] == f"http://127.0.0.1:{copy.ports['identity-service']}"
    assert outputs["databases"]["mysql"]["state"] == "embedded"
    assert outputs["costs_yuan"] == {"local": 0, "tencent": 50, "alibaba": 100, "all": 150, "original": 300}
    copy.run("destroy")
    assert copy.listeners() == []
    wait_for(lambda: copy.processes() == [], 10)
    assert sorted(p.name for p in (copy.folder / ".local").iterdir()) == ["data", "logs", "state"]


def test_a_changed_port_concerns_the_service_and_who_needs_its_address(running: ProgramCopy) -> None:  # P5
    before = running.pids()
    running.edit(lambda values: values["services"]["identity-service"].update(port=running.ports["mysql"] - 1))
    new = running.ports["mysql"] - 1
    assert running.changes() == {"identity-service-up": "update", "blockchain-service-up": "update"}
    assert running.pids() == before, "a preview touches nothing"
    running.run("up")
    after = running.pids()
    assert {name for name in SERVICES if after[name] != before[name]} == {"identity-service", "blockchain-service"}
    assert not running.listeners().count(running.ports["identity-service"])
    running.ports["identity-service"] = new
    assert running.get("identity-service", "/health")[0] == 200
    _, ready = running.get("blockchain-service", "/ready")
    assert ready["services"]["identity-service"]["detail"].endswith(f":{new}")


def test_a_program_that_crashes_gives_way_to_the_one_before(running: ProgramCopy) -> None:  # P11
    before = running.pids()
    running.edit(lambda values: values["services"]["identity-service"].update(command=CRASHES))
    failed = running.run("up", code=1)
    assert "identity-service" in failed.stdout
    assert "boom: no such table" in failed.stdout
    assert running.get("identity-service", "/health")[0] == 200
    after = running.pids()
    assert {name for name in SERVICES if after[name] != before[name]} == {"identity-service"}
    # It is tried again, and a good one ends it.
    assert running.changes()["identity-service-up"] == "update"
    running.edit(lambda values: values["services"]["identity-service"].pop("command"))
    running.run("up")
    running.run("preview", "--expect-no-changes")


def test_own_service_reloads_when_its_code_changes(copy: ProgramCopy) -> None:  # P1
    folder = copy.folder / "mine"
    folder.mkdir()
    text = (Path(__file__).parent / "services" / "own.py").read_text()
    (folder / "own.py").write_text(text)
    own = {"command": ["python", "own.py", "{port}"], "folder": "mine"}
    copy.edit(lambda values: values["services"]["blockchain-config"].update(own))
    copy.run("up")
    assert copy.get("blockchain-config", "/info")[1]["version"] == "1"
    before = copy.pids()
    log = copy.folder / ".local/logs/reloader.log"
    wait_for(lambda: log.exists() and str(folder) in log.read_text(), 30)
    (folder / "own.py").write_text(text.replace('VERSION = "1"', 'VERSION = "2"'))
    wait_for(lambda: copy.get("blockchain-config", "/info")[1] == {"version": "2"}, 30)
    after = copy.pids()
    assert {name for name in SERVICES if after[name] != before[name]} == {"blockchain-config"}
    copy.run("preview", "--expect-no-changes")


def test_after_a_reboot_a_preview_says_so_and_up_repairs(running: ProgramCopy) -> None:
    before = set(running.pids().values())
    running.clean_up()  # what a reboot does to processes
    assert running.listeners() == []
    changes = running.changes()
    assert set(changes.values()) == {"update"}
    assert set(changes) == {"local-host-hostctl", *(f"{name}-up" for name in SERVICES)}
    running.run("up")
    assert set(running.pids()) == set(SERVICES)
    assert not before & set(running.pids().values())
    running.run("preview", "--expect-no-changes")


def test_the_whole_folder_removed_under_it_is_seen_and_repaired(running: ProgramCopy) -> None:
    shutil.rmtree(running.folder / ".local")
    assert set(running.changes()) == {"local-host-hostctl", "mysql-check", "redis-check"} | {
        f"{n}-up" for n in SERVICES
    }
    running.run("up")
    for name in SERVICES:
        assert running.get(name, "/health")[0] == 200, name
    running.run("preview", "--expect-no-changes")
    shutil.rmtree(running.folder / ".local")
    running.run("destroy")
    assert running.listeners() == []
    wait_for(lambda: running.processes() == [], 10)


def test_what_can_not_be_started_leaves_what_runs_alone(running: ProgramCopy) -> None:
    before = running.pids()
    missing = {"command": ["no-such-program"], "folder": "image"}
    running.edit(lambda values: values["services"]["blockchain-monitor"].update(missing))
    assert "no-such-program is not there" in running.run("up", code=1).stdout
    missing = {"command": ["python", "main.py"], "folder": "no-such-folder"}
    running.edit(lambda values: values["services"]["blockchain-monitor"].update(missing))
    assert "no-such-folder is not there" in running.run("up", code=1).stdout
    assert running.pids() == before


def test_a_service_with_a_debugger_can_be_changed(copy: ProgramCopy) -> None:  # P1
    port = copy.ports["redis"] + 1
    copy.edit(lambda values: values["services"]["blockchain-config"].update(debug_port=port, env={"ROUND": "1"}))
    copy.run("up")
    for round_ in ("2", "3"):
        copy.edit(lambda values, env={"ROUND": round_}: values["services"]["blockchain-config"].update(env=env))
        copy.run("up")
    assert copy.get("blockchain-config", "/health")[0] == 200
    copy.run("destroy")
    wait_for(lambda: copy.processes() == [], 10)


def test_one_service_stopped_by_hand_is_the_only_change(running: ProgramCopy) -> None:
    before = running.pids()
    running.call([".venv/bin/supervisorctl", "-c", ".local/supervisord.conf", "stop", "blockchain-monitor"])
    assert running.changes() == {"blockchain-monitor-up": "update"}
    assert "not running" in running.run("preview").stdout
    running.run("up")
    after = running.pids()
    assert {name for name in SERVICES if after[name] != before[name]} == {"blockchain-monitor"}
    running.run("preview", "--expect-no-changes")


def test_an_invalid_stack_ends_before_anything_is_touched(copy: ProgramCopy) -> None:
    def spoil(values: dict[str, dict[str, dict[str, object]]]) -> None:
        values["services"]["identity-service"]["port"] = copy.ports["governance-service"]
        values["services"]["blockchain-gatewey"] = {"port": 2000}
        values["services"]["blockchain-config"]["memory"] = "64"

    copy.edit(spoil)
    for verb in ("preview", "up"):
        said = copy.run(verb, code=1)
        text = said.stdout + said.stderr
        assert "3 problems; nothing was touched" in text
        assert "is taken on 127.0.0.1 by" in text
        assert (
            "services.blockchain-gatewey: the documents name no such service; did you mean 'blockchain-gateway'?"
            in text
        )
        assert "services.blockchain-config.memory: '64' is not an amount of bytes" in text
        assert "Traceback" not in text
    assert not (copy.folder / ".local").exists()


def test_a_strangers_port_is_named(copy: ProgramCopy) -> None:  # P6
    import socket

    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", copy.ports["blockchain-monitor"]))
        stranger.listen()
        failed = copy.run("up", code=1)
    assert f"{copy.ports['blockchain-monitor']}" in failed.stdout
    assert f"pid {os.getpid()}" in failed.stdout
    assert set(copy.pids()) == set(SERVICES) - {"blockchain-monitor"}, "the others were not held up"
    copy.run("up")
    assert set(copy.pids()) == set(SERVICES)


def test_two_at_once_one_is_told_who_the_other_is(copy: ProgramCopy) -> None:
    first = copy.start("up")
    wait_for(lambda: list((copy.folder / ".standalone").glob("*.holder")) or first.poll() is not None)
    second = copy.run("up", code=None)
    first.communicate(timeout=120)
    assert first.returncode == 0
    assert second.returncode != 0
    assert str(first.pid) in second.stdout + second.stderr
    copy.run("preview", "--expect-no-changes")


def test_killed_at_any_moment_the_next_up_finishes(copy: ProgramCopy) -> None:
    chance = random.Random(8301)
    for round_ in range(KILLS):
        if round_ % 3 == 2:
            memory = f"{64 + round_}MB"
            copy.edit(lambda values, env={"ROUND": memory}: values["services"]["identity-service"].update(env=env))
        process = copy.start("up")
        time.sleep(chance.uniform(0.2, 6.0 if round_ < 2 else 3.0))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()
    copy.run("up")
    for name in SERVICES:
        assert copy.get(name, "/health")[0] == 200, name
    copy.run("preview", "--expect-no-changes")
    copy.run("destroy")
    assert copy.listeners() == []
    wait_for(lambda: copy.processes() == [], 10)


@pytest.mark.parametrize("stack", ["tencent", "alibaba"])
def test_a_servers_preview_needs_nothing(copy: ProgramCopy, stack: str) -> None:  # P2, P3
    copy.environment = {"PATH": "/usr/bin:/bin", "HOME": str(copy.folder)}
    done = copy.run("preview", "--stack", stack)
    assert "was not observed" in done.stdout
    for name in ("blockchain-service", "identity-service", "blockchain-storage", "mysql"):
        assert name in done.stdout
    refused = copy.run("up", "--stack", stack, code=1)
    assert "nothing was touched" in refused.stdout + refused.stderr
    assert not (copy.folder / ".standalone" / f"{stack}.json").exists()
