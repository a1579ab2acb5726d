"""What can go wrong with the firewall (D11): killed, edited, half active. SSH answers, and the next run converges."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.firewall_world import (
    ANYWHERE,
    BACKENDS,
    DEFINITION,
    INSIDE,
    LISTED,
    RUN,
    SSH,
    Knocking,
    Replaced,
    docker_starts,
    firewall_world,
    hostctl,
    reached,
    saved,
    variants,
    zipapp,
)
from tests.host.namespaces import FAR, HOST, World
from tests.workshop.conftest import REAL

KILLS = 40 if os.environ.get("SOAK") else 20


@pytest.fixture(params=BACKENDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """With the backend `nft`, and with `legacy`."""
    with firewall_world(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def one_world(tmp_path: Path) -> Iterator[World]:
    """With whichever backend `iptables` is here."""
    with firewall_world("", tmp_path) as made:
        yield made


@pytest.mark.timeout(300)
def test_killed_at_any_moment_the_next_run_converges(one_world: World, tmp_path: Path) -> None:
    root, chance = tmp_path / "root", random.Random(7)
    hostctl(one_world.host, root, "apply")
    began = time.monotonic()
    hostctl(one_world.host, root, "apply", variants(99))
    takes = time.monotonic() - began
    killed = 0
    with Knocking(one_world) as knocking:
        for number in range(KILLS):
            text = json.dumps(variants(number))
            process = one_world.host.start("env", f"PYTHONPATH={REAL}", sys.executable, RUN, root, "apply", text=text)
            try:
                process.wait(takes * chance.uniform(0.2, 1.0))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                killed += process.wait(10) == -signal.SIGKILL
            process.communicate()
            assert one_world.outside.connects(HOST, SSH, FAR)
            # Whichever of the two was active, a port that both close was closed all the time.
            assert not one_world.outside.connects(HOST, 8401, FAR)
            if number % 4 == 0:
                hostctl(one_world.host, root, "apply", variants(number))
                assert hostctl(one_world.host, root, "check", variants(number)) == ""
                assert hostctl(one_world.host, root, "apply", variants(number)) == []
    assert killed >= KILLS // 4
    assert knocking.failed == []


def test_what_others_do_to_the_rules_is_said_and_repaired(world: World, tmp_path: Path) -> None:
    root, host = tmp_path / "root", world.host
    docker_starts(host)
    hostctl(host, root, "apply")
    for words, command in (
        ("firewall rule for port 6379 is missing (IPv4)", "-D BLOCKCHAIN-DAO-PORTS -p tcp -m tcp --dport 6379 "
         "-m comment --comment redis -j DROP"),
        ("DOCKER-USER does not lead to the firewall's chain BLOCKCHAIN-DAO-DOCKER (IPv4)", "-F DOCKER-USER"),
        ("INPUT lets connections past the firewall's chain BLOCKCHAIN-DAO (IPv4)", "-I INPUT -p tcp --dport 6379 "
         "-j ACCEPT"),
        ("INPUT does not lead to the firewall's chain BLOCKCHAIN-DAO (IPv4)", "-F INPUT"),
        ("FORWARD does not lead to the firewall's chain BLOCKCHAIN-DAO-DOCKER (IPv4)", "-F FORWARD"),
    ):  # fmt: skip
        host.run("iptables", "-w", "10", *command.split())
        assert hostctl(host, root, "check") == words
        assert hostctl(host, root, "apply")[0].startswith("firewall: IPv4: ")
        assert hostctl(host, root, "check") == ""
    docker_starts(host)
    assert hostctl(host, root, "check") == ""
    assert reached(world) == INSIDE | ANYWHERE | LISTED
    host.run("ip6tables", "-F")
    assert hostctl(host, root, "check").endswith("(IPv6)")
    assert hostctl(host, root, "apply")
    assert reached(world) == INSIDE | ANYWHERE | LISTED


@pytest.mark.parametrize("family", ["iptables", "ip6tables"])
def test_what_is_not_active_as_asked_for_is_put_back(world: World, tmp_path: Path, family: str) -> None:
    root, host, restore = tmp_path / "root", world.host, tmp_path / f"tools/{family}-restore"
    record, fresh = root / "state/firewall.json", saved(host)
    for shim, reason in (("forgets-a-rule", "firewall rule for port 3306 is missing"), ("fails", "no space left")):
        with Replaced(restore, shim) as tool:
            said = tool.apply(host, root, DEFINITION, "--dport 3306 .*DROP")
        assert reason in said
        assert said.endswith("; it is as it was before")
        assert not record.exists()
        assert saved(host) == fresh
    hostctl(host, root, "apply")
    good, kept = saved(host), record.read_text()
    with Replaced(restore, "forgets-a-rule") as tool:
        said = tool.apply(host, root, variants(3), "--dport 10003 .*DROP")
    version = 4 if family == "iptables" else 6
    assert said.endswith(f"firewall rule for port 10003 is missing (IPv{version})); it is as it was before")
    assert (saved(host), record.read_text()) == (good, kept)
    with Replaced(restore, "forgets-a-rule") as tool:
        said = tool.apply(host, root, variants(3), "--dport 3306 .*DROP")
    assert "rules are not what they were before" in said  # it never says what isn't so
    assert hostctl(host, root, "apply")
    assert saved(host) == good


def test_two_folders_of_one_host_do_not_fight(one_world: World, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    hostctl(one_world.host, first, "apply")
    rules = saved(one_world.host)
    said = hostctl(one_world.host, second, "apply", check=False)
    assert f"firewall: this host's is kept by {first}: remove that one first" in said
    archive = zipapp(tmp_path)
    assert "[]" in one_world.host.run(sys.executable, archive, "--root", second, "firewall", "remove")
    assert saved(one_world.host) == rules
    (first / "state/firewall.json").unlink()  # gone with its records: nobody keeps them
    assert hostctl(one_world.host, second, "apply")


def test_the_connection_that_we_came_in_by_is_never_closed(one_world: World, tmp_path: Path) -> None:
    before = saved(one_world.host)
    said = one_world.host.run(
        sys.executable, RUN, tmp_path / "root", "apply", text=json.dumps(DEFINITION), check=False,
        PYTHONPATH=str(REAL), SSH_CONNECTION="203.0.113.9 51234 10.99.0.1 8401",
    )  # fmt: skip
    assert "port 8401 is what this very SSH connection came in by" in said
    assert saved(one_world.host) == before
