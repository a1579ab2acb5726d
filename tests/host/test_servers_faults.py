"""What changes and what can go wrong on a converged server, and that the next `up` converges (issue: "Faults"). P11.

Every day with six services, in `make soak` with all twelve and at the pace of the stack file.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hostctl.compose_files import SERVICE
from plan.catalog import EDGE
from tests.host.servers import ROOT, Server, broken_image
from tests.lab.host import LabHost
from tests.lab.lab import Lab

pytestmark = [pytest.mark.host, pytest.mark.timeout(1200)]
SOAK = bool(os.environ.get("SOAK"))
KILLS = 60 if SOAK else 3
MARKS = itertools.count(1)


def of_this_host(folder: Path, host: LabHost) -> Server:
    """A clone whose stack is the host's; without an edition."""
    made = Server(folder, "tencent", host)
    if not SOAK:
        return made.shorten()
    made.edit(lambda values: values.pop("edition"))
    return made


@pytest.fixture(scope="module")
def converged(tmp_path_factory: pytest.TempPathFactory, lab: Lab) -> Server:
    """One for all: each test leaves it converged, or the next one begins anew."""
    lab.start("tencent")
    lab.hosts["tencent"].reset()
    made = of_this_host(tmp_path_factory.mktemp("faults"), lab.hosts["tencent"])
    made.program.set_secret("huawei", "one")
    return made


@pytest.fixture
def server(converged: Server) -> Server:
    converged.host.lift()
    converged.up()
    return converged


def change_all(server: Server) -> str:
    """Another version of every service in the stack file; its mark, which none had before."""
    mark = f"mark-{next(MARKS):04}"
    for name in [service.name for service in server.plan().services]:
        server.set(name, env={"MARK": mark})
    return mark


def up_has_begun(server: Server) -> subprocess.Popen[str]:
    """An `up` that changes all of them, and has come to the first ones."""
    mark = change_all(server)
    assert mark not in compose_file(server)
    running = server.program.start("up")
    server.host.wait_for(lambda: mark in compose_file(server), "up has begun", 60)
    return running


def changed_with(server: Server, act: Callable[[], None]) -> str:
    """An `up` that changes all of them, with a fault while it works; its words."""
    running = up_has_begun(server)
    assert running.poll() is None
    act()
    said, _ = running.communicate(timeout=400)
    return said


def compose_file(server: Server) -> str:
    return server.host.read(f"{ROOT}/docker-compose-blockchain-tencent.yml")


def assert_converges(server: Server) -> None:
    """The next `up` does it all, and the one behind it has nothing left to do."""
    said = server.up(code=None)
    # What Docker itself starts again after a crash is none of `up`'s: it may say `unchanged` of what is just starting.
    server.host.wait_for(lambda: set(server.health().values()) == {200}, f"all are healthy after\n{said}", 30)
    containers = [one.labels.get(SERVICE, EDGE) for one in server.host.containers().values()]
    assert sorted(name for name in containers if name != EDGE) == sorted(server.health())
    assert server.unchanged(), said
    before = server.same()
    server.type_it()
    assert server.same() == before  # P7
    assert server.foreign()["their-app"]


def clear(said: str) -> bool:
    """Success, or an error that says something; never a traceback."""
    return "Traceback" not in said and ("error" in said or "failed" in said or "done" in said)


def test_a_change_is_one_container_and_two_connections_at_most(
    server: Server, record_property: pytest.RecordProperty
) -> None:
    assert server.unchanged()
    before = server.same()
    server.set("blockchain-audit", env={"LOG_LEVEL": "debug"})
    assert server.program.changes("preview") == {"blockchain-audit-up": "update"}
    done, connections = server.program.measured("up")
    record_property("printed", f"tencent: one setting changed, {connections} SSH connections, observing included")
    assert connections <= 1 + 2, done.stdout
    after = server.same()
    assert {name for name in after if after[name] != before[name]} == {"blockchain-audit"}
    # Another image.
    image = broken_image(server.host, "team/audit:2", "exec python3 -m standin")
    server.set("blockchain-audit", image=image)
    before = after
    _, connections = server.program.measured("up")
    assert connections <= 1 + 2
    after = server.same()
    assert {name for name in after if after[name] != before[name]} == {"blockchain-audit"}
    assert server.unchanged()
    server.edit(lambda values: values["services"]["blockchain-audit"].pop("image"))


def test_a_rotated_password_recreates_its_users_only(server: Server) -> None:
    before = server.same()
    server.program.set_secret("huawei", "two")
    assert server.program.changes("preview") == {"huawei-secrets": "update"}
    _, connections = server.program.measured("up")
    assert connections == 2
    after = server.same()
    users = {service.name for service in server.plan().running if service.chains}
    assert users
    assert {name for name in after if after[name] != before[name]} == users
    assert server.all_healthy()
    assert server.unchanged()
    server.type_it()
    assert server.same() == after  # P7


FAULTS: dict[str, Callable[[LabHost], None]] = {
    "ssh sessions killed": lambda host: host.kill_sshd_sessions(),
    "sshd down for 3 s": lambda host: host.restart_sshd(3),
    "network cut for 20 s": lambda host: host.cut_network(20),
    "docker restarted": lambda host: host.restart_docker(),
    "docker crashed": lambda host: host.restart_docker(kill=True),
    "rebooted": lambda host: host.reboot(),
    "power cut": lambda host: host.reboot(hard=True),
}


# In every run; the others are their near relations and take half a minute each: SOAK=1 (`make soak`) has them all.
EVERYDAY = ("ssh sessions killed", "network cut for 20 s", "docker crashed")


@pytest.mark.parametrize("fault", FAULTS if SOAK else EVERYDAY)
def test_a_fault_in_the_middle_of_an_up(server: Server, fault: str) -> None:
    said = changed_with(server, lambda: FAULTS[fault](server.host))
    assert clear(said), said
    assert_converges(server)


def test_hostctl_killed_at_random_moments(server: Server, record_property: pytest.RecordProperty) -> None:
    chance = random.Random(4)
    interrupted = 0
    for number in range(KILLS):
        mark = str(number)
        for name in ("blockchain-audit", "identity-service", "blockchain-gateway"):
            server.set(name, env={"MARK": mark})
        running = server.program.start("up")
        time.sleep(chance.uniform(0.8, 6.0))
        # With the compose that it runs, or without.
        patterns = [
            "/lib/[h]ostctl",
            *(["[d]ocker-compose-blockchain-tencent.yml up"] if chance.random() < 0.5 else []),
        ]
        for pattern in patterns:
            server.host.run(["pkill", "-KILL", "-f", pattern], code=None)
        said, _ = running.communicate(timeout=300)
        interrupted += running.returncode != 0
        assert clear(said), said
        # What serves goes on, killed or not: at most the three that were being changed are away for a moment.
        others = [name for name in server.health() if name not in ("blockchain-audit", "identity-service",
                                                                   "blockchain-gateway")]  # fmt: skip
        assert set(server.health(others).values()) == {200}
        server.up()
        assert set(server.health().values()) == {200}
    record_property("printed", f"hostctl killed {KILLS} times, {interrupted} runs of `up` failed for it, all converged")
    assert interrupted >= KILLS // 4
    assert_converges(server)


def test_a_full_disk(server: Server) -> None:
    server.host.fill_disk()
    change_all(server)
    said = server.up(code=1)
    assert re.search(r"[Nn]o space left", said), said
    assert clear(said)
    assert set(server.health().values()) == {200}  # what ran still runs
    server.host.free_disk()
    assert_converges(server)


def test_two_people_at_once(server: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two clones, two states, one host: its lock keeps them apart; the same clone twice: one of them is refused."""
    other = of_this_host(tmp_path_factory.mktemp("other"), server.host)
    server.set("blockchain-audit", env={"WHO": "one"})
    stack_file = "Pulumi.tencent.yaml"
    (other.program.folder / stack_file).write_text((server.program.folder / stack_file).read_text())
    said: dict[int, str] = {}
    threads = [
        threading.Thread(target=lambda number=number, one=one: said.update({number: one.up(code=None)}))
        for number, one in enumerate((server, other))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(clear(text) for text in said.values())
    assert_converges(server)
    server.set("blockchain-audit", env={"WHO": "two"})
    running = server.program.start("up")
    time.sleep(0.7)
    second = server.up(code=None)
    running.communicate(timeout=300)
    assert running.returncode == 0
    assert "another run works on this stack" in second or "unchanged" in second
    assert_converges(server)


def test_a_clock_that_is_a_day_off(server: Server) -> None:
    with server.host.with_clock_off(-1):
        server.set("blockchain-audit", env={"MARK": "yesterday"})
        said = server.up()
        assert "1440 minutes behind" in said
        assert set(server.health().values()) == {200}
        assert server.program.changes("preview") == {}
    assert_converges(server)


def test_a_file_edited_by_hand_is_seen_and_repaired(server: Server) -> None:
    file = f"{ROOT}/docker-compose-blockchain-tencent.yml"
    good = compose_file(server)
    server.host.put(file, good.replace("16866-16867:8433", "26866-26867:8433"))
    preview = server.program.run("preview").stdout
    assert server.program.changes("preview") == {"blockchain-audit-up": "update"}
    assert "its block in docker-compose-blockchain-tencent.yml was edited" in preview
    before = server.same()
    server.up()
    assert compose_file(server) == good
    assert server.same() == before  # the containers were right all the time
    name = server.ours()["blockchain-audit"].name
    server.host.run(f"docker rm -f {name}")
    assert server.program.changes("preview") == {"blockchain-audit-up": "update"}
    server.up()
    assert server.unchanged()


def test_ctrl_c_and_a_killed_program(server: Server) -> None:
    for signal_ in (signal.SIGINT, signal.SIGKILL):
        running = up_has_begun(server)
        running.send_signal(signal_)
        running.communicate(timeout=300)
        assert running.returncode != 0
        assert_converges(server)
