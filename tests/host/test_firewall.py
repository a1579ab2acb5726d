"""The firewall against a real kernel: who reaches what, and that SSH is never cut off (D11).

A host, somebody outside and a container, each a network namespace (`namespaces.py`); both backends of iptables.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostctl.firewall_rules import CHAINS
from tests.host.firewall_world import (
    ANYWHERE,
    BACKENDS,
    CLOSED,
    DEFINITION,
    INSIDE,
    LISTED,
    SSH,
    Knocking,
    chains_of_ours,
    chains_of_ours_in,
    docker_starts,
    firewall_world,
    hostctl,
    reached,
    saved,
    variants,
    zipapp,
)
from tests.host.namespaces import FAR, HOST, Machine, World, echoes


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


def test_closed_to_the_outside_and_open_to_what_the_stack_says(world: World, tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert reached(world) == INSIDE | ANYWHERE | CLOSED | LISTED
    before = saved(world.host)
    words = hostctl(world.host, root, "apply")
    assert words[:2] == [
        "firewall: IPv4: 2 ports closed to the outside, 2 open to their networks only, 1 open to all",
        "firewall: IPv6: 3 ports closed to the outside, 1 open to their networks only, 1 open to all",
    ]
    assert reached(world) == INSIDE | ANYWHERE | LISTED  # D11, E6, E7
    assert hostctl(world.host, root, "check") == ""
    assert world.host.run(sys.executable, zipapp(tmp_path), "--root", root, "firewall", "remove")
    assert not set(CHAINS) & set(re.findall(r"[A-Z-]{6,}", saved(world.host)))
    assert saved(world.host) == before
    assert reached(world) == INSIDE | ANYWHERE | CLOSED | LISTED
    assert hostctl(world.host, root, "check") == "the firewall is missing (IPv4)"


def test_a_second_time_nothing_is_run_and_nothing_written(world: World, tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert hostctl(world.host, root, "apply")
    record, rules = root / "state/firewall.json", saved(world.host)
    written = record.stat()
    for name in ("iptables-restore", "ip6tables-restore", "iptables", "ip6tables"):
        tool = tmp_path / "tools" / name
        tool.unlink()
        tool.symlink_to("/bin/false")  # who runs it fails
    assert hostctl(world.host, root, "apply") == []
    assert saved(world.host) == rules
    assert (record.stat().st_ino, record.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)


@pytest.mark.timeout(300)
def test_ssh_answers_before_during_and_after(world: World, tmp_path: Path) -> None:
    session = world.outside.connection(HOST, SSH, FAR)
    query = world.outside.connection(HOST, 6379, FAR)  # closed now, opened before
    forwarded = world.outside.connection(HOST, 8401, FAR)
    with Knocking(world) as knocking:
        for number in range(50):
            assert hostctl(world.host, tmp_path / "root", "apply", variants(number))
        hostctl(world.host, tmp_path / "root", "apply")
        assert reached(world) == INSIDE | ANYWHERE | LISTED
    assert knocking.failed == []
    assert knocking.answered > 100
    for connection in (session, query, forwarded):
        assert echoes(connection)
        connection.close()


def test_the_host_boots(one_world: World, tmp_path: Path) -> None:
    """`hostctl firewall restore` as the unit runs it: from the zipapp, before the network, before Docker."""
    root = tmp_path / "root"
    hostctl(one_world.host, root, "apply")
    archive = zipapp(tmp_path)
    rebooted = Machine(f"{one_world.host.name}-again")
    subprocess.run(["ip", "netns", "add", rebooted.name], check=True)
    try:
        command = ["env", "-i", "PATH=/usr/bin:/bin", sys.executable, "-IS", archive, "--root", root, "firewall"]
        said = json.loads(rebooted.run(*command, "restore"))
        assert [word.split(": ")[1] for word in said["changed"]] == ["IPv4", "IPv6"]
        assert hostctl(rebooted, root, "check") == ""
        assert json.loads(rebooted.run(*command, "restore")) == {"changed": []}
        docker_starts(rebooted)
        assert hostctl(rebooted, root, "check") == ""
        (root / "state/host.json").write_text(json.dumps({"definition": DEFINITION}))
        assert json.loads(rebooted.run(*command, "check")) == {"differs": ""}
        rebooted.run("iptables", "-F", "BLOCKCHAIN-DAO-PORTS")
        said = rebooted.run("sh", "-c", '"$@"; echo "exit $?"', "sh", *command, "check")
        assert said == '{"differs": "firewall rule for port 3306 is missing (IPv4)"}\nexit 1\n'
        assert json.loads(rebooted.run(*command, "remove"))["changed"] == [
            "firewall: IPv4 rules removed",
            "firewall: IPv6 rules removed",
        ]
        assert json.loads(rebooted.run(*command, "remove")) == {"changed": []}
        assert json.loads(rebooted.run(*command, "restore")) == {"changed": []}  # nothing is on record any more
    finally:
        subprocess.run(["ip", "netns", "del", rebooted.name], check=True)


def test_removed_when_the_definition_has_none_any_more_and_when_records_are_gone(
    one_world: World, tmp_path: Path
) -> None:
    root, before = tmp_path / "root", saved(one_world.host)
    hostctl(one_world.host, root, "apply")
    assert hostctl(one_world.host, root, "check", {"firewall": None}) == "the firewall is still there"
    assert hostctl(one_world.host, root, "apply", {"firewall": None})
    assert chains_of_ours(one_world.host) == chains_of_ours_in(before) == set()
    hostctl(one_world.host, root, "apply")
    shutil.rmtree(root)
    archive = zipapp(tmp_path)
    said = json.loads(one_world.host.run(sys.executable, "-IS", archive, "--root", root, "firewall", "remove"))
    assert len(said["changed"]) == 2
    assert chains_of_ours(one_world.host) == set()
    assert not root.exists()
