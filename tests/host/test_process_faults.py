"""Faults of the runtime `process`: each ends in a clear error or success, and the next `up` converges."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.laptop import SUPERVISORD, Laptop, alive, ask, converged, free_ports, wait_for
from tests.hostctl import samples

pytestmark = pytest.mark.host

IDENTITY, GOVERNANCE, CONFIG = "identity-service", "governance-service", "blockchain-config"
KILLS = 100 if os.environ.get("SOAK") else 6


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    yield from converged(tmp_path)


@pytest.mark.timeout(1200 if os.environ.get("SOAK") else 240)
def test_killed_at_random_moments(laptop: Laptop) -> None:
    """SIGKILL to the whole group of `hostctl up`, again and again; other services never notice."""
    one, two = free_ports(2)
    laptop.up(laptop.service(GOVERNANCE, two), "--observed", "")
    laptop.up(laptop.service(IDENTITY, one), "--observed", "")
    other = laptop.pids()[GOVERNANCE]
    seed = int(os.environ.get("SEED", time.time_ns() % 10**6))
    print(f"SEED={seed}")
    chance = random.Random(seed)
    for number in range(KILLS):
        mode = chance.choice(["ok", "ok", "never", "crash"])
        definition = laptop.service(IDENTITY, one, mode, env={"NUMBER": str(number)}, timeout=20, grace=1)
        run = laptop.begin("up", IDENTITY, stdin=definition, start_new_session=True)
        with contextlib.suppress(subprocess.TimeoutExpired, ProcessLookupError):
            run.wait(chance.uniform(0.05, 1.8))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
        if chance.random() < 0.5:  # the next run may be anybody's
            laptop.up(laptop.service(GOVERNANCE, two))
            assert laptop.observe()["services"][IDENTITY] in ("", *expected_labels(number)), f"SEED={seed}"
        good = laptop.service(IDENTITY, one, env={"NUMBER": str(number)}, grace=1)
        laptop.up(good, "--observed", "")
        assert ask(one)["env"]["NUMBER"] == str(number), f"SEED={seed}"
        assert laptop.pids()[GOVERNANCE] == other, f"SEED={seed}"
        assert laptop.observe()["services"] == {IDENTITY: "", GOVERNANCE: ""}, f"SEED={seed}"
        assert list((laptop.root / "state/queue").glob("*")) == [], f"SEED={seed}"
    assert samples.HEADER in laptop.text(samples.CONF)


def expected_labels(number: int) -> list[str]:
    """A generation or two for every round, and some that were rolled back."""
    return [f"interrupted while generation {generation} converged" for generation in range(2, 4 * number + 8)]


def test_a_leader_killed_over_the_requests_of_others(laptop: Laptop) -> None:
    """Whoever waits behind it takes over."""
    ports = free_ports(3)
    names = (IDENTITY, GOVERNANCE, CONFIG)
    queue, killed = laptop.root / "state/queue", 0
    for _ in range(12):
        with laptop.locked_until(3):
            runs = [
                laptop.begin("up", name, stdin=laptop.service(name, port), start_new_session=True)
                for name, port in zip(names, ports, strict=True)
            ]
        wait_for(
            lambda runs=runs: list(queue.glob("*.taken")) or all(run.poll() is not None for run in runs),
            every=0.001,  # on a quiet machine a leader is done within one look of the usual kind
        )
        # Empty where the leader was quicker than we looked, and has given the lock back.
        holder = re.search(r'"pid": (\d+)', laptop.text("state/lock"))
        leader = int(holder.group(1)) if holder else 0
        if any(run.poll() is None and run.pid == leader for run in runs):
            os.kill(leader, signal.SIGKILL)
            killed += 1
        outputs = [run.communicate(timeout=60) for run in runs]
        assert [run.returncode for run in runs if run.pid != leader] == [0, 0] or all(
            run.returncode == 0 for run in runs
        ), outputs
        for name in names:
            laptop.run("down", name)
        laptop.run("host", stdin=samples.host(str(SUPERVISORD)))
        assert laptop.status() == {}
        if killed == 3:  # a leader that was quicker than we looked doesn't count
            return
    pytest.fail(f"only {killed} leaders could be killed in time")


def test_supervisord_killed(laptop: Laptop) -> None:
    one, two = free_ports(2)
    identity, governance = laptop.service(IDENTITY, one), laptop.service(GOVERNANCE, two)
    laptop.up(identity, "--observed", "")
    laptop.up(governance, "--observed", "")
    orphans = list(laptop.pids().values())
    os.kill(laptop.supervisord(), signal.SIGKILL)
    wait_for(lambda: laptop.observe()["host"])
    labels = laptop.observe()
    assert labels["host"] == "the runtime is not running (after generation 1)"
    assert labels["services"] == dict.fromkeys((IDENTITY, GOVERNANCE), "process not running (after generation 1)")
    assert all(alive(pid) for pid in orphans)  # they still hold their ports
    laptop.up(identity, "--observed", labels["services"][IDENTITY])
    laptop.up(governance, "--observed", labels["services"][GOVERNANCE])
    laptop.host(labels["host"])
    assert not any(alive(pid) for pid in orphans)
    assert all(entry["healthy"] for entry in laptop.status().values())
    assert laptop.observe() == labels  # adopted: the next preview is clean
    os.kill(laptop.supervisord(), signal.SIGKILL)
    again = wait_for(lambda: laptop.observe() != labels and laptop.observe())
    assert again["services"] == dict.fromkeys((IDENTITY, GOVERNANCE), "process not running (after generation 2)")


def test_supervisord_that_does_not_answer(laptop: Laptop) -> None:
    port = free_ports(1)[0]
    definition = laptop.service(IDENTITY, port)
    laptop.up(definition)
    (laptop.root / "run/supervisor.sock").unlink()
    assert laptop.observe()["host"].startswith("the runtime is not running")
    assert "does not answer; it is ended first" in laptop.up(definition).stderr
    assert laptop.status()[IDENTITY]["healthy"]


def test_a_killed_service_heals_by_itself(laptop: Laptop) -> None:
    port = free_ports(1)[0]
    laptop.up(laptop.service(IDENTITY, port), "--observed", "")
    before = laptop.pids()[IDENTITY]
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: laptop.status()[IDENTITY]["healthy"] and laptop.pids()[IDENTITY] != before)
    assert laptop.observe()["services"] == {IDENTITY: ""}


def test_two_hosts_at_once(laptop: Laptop) -> None:
    runs = [laptop.begin("host", stdin=samples.host(str(SUPERVISORD))) for _ in range(3)]
    outputs = [run.communicate(timeout=60) for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], outputs


def test_waiting_says_for_whom(laptop: Laptop) -> None:
    port = free_ports(1)[0]
    slow = laptop.begin("up", IDENTITY, stdin=laptop.service(IDENTITY, port, "late", env={"LATE": "3"}))
    wait_for(lambda: (laptop.root / "logs/identity-service.log").exists())
    second = laptop.up(laptop.service(IDENTITY, port, env={"SECOND": "1"}))
    assert "identity-service: waiting for pid " in second.stderr
    assert "which has been changing it for " in second.stderr
    assert slow.wait(60) == 0
    slow.communicate()


def test_a_stop_signal_while_waiting_leaves_at_once(laptop: Laptop) -> None:
    port = free_ports(1)[0]
    with laptop.locked_until(0):
        run = laptop.begin("up", IDENTITY, stdin=laptop.service(IDENTITY, port), start_new_session=True)
        wait_for(lambda: list((laptop.root / "state/queue").glob("[0-9]*.json")))
        os.killpg(run.pid, signal.SIGTERM)
        _, errors = run.communicate(timeout=30)
        assert run.returncode == 1
        assert "interrupted while waiting; nothing was changed" in errors
    assert laptop.status() == {}


def test_interrupted_removal_is_finished(laptop: Laptop) -> None:
    one, two = free_ports(2)
    laptop.up(laptop.service(IDENTITY, one, "deaf", grace=2))
    laptop.up(laptop.service(GOVERNANCE, two))
    pid = laptop.pids()[IDENTITY]
    run = laptop.begin("down", IDENTITY, start_new_session=True)
    wait_for(lambda: IDENTITY not in laptop.text(samples.CONF))
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    assert "finishing an interrupted removal" in laptop.up(laptop.service(GOVERNANCE, two)).stderr
    assert list(laptop.pids()) == [GOVERNANCE]
    assert not alive(pid)


def test_state_removed_by_hand(laptop: Laptop) -> None:
    """As if the host were new, but with our supervisord still there: it is started afresh."""
    port = free_ports(1)[0]
    definition = laptop.service(IDENTITY, port)
    laptop.up(definition)
    shutil.rmtree(laptop.root / "state")
    assert laptop.observe() == {"host": "ABSENT", "services": {}, "databases": {}}
    laptop.host("")
    laptop.up(definition, "--observed", "")
    assert laptop.status()[IDENTITY]["healthy"]
    assert laptop.observe() == {"host": "", "services": {IDENTITY: ""}, "databases": {}}
