"""One service back to its previous generation and forward again, with a real supervisord (P1, P9)."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.host.laptop import TINY, Laptop, alive, ask, converged, free_ports, wait_for

pytestmark = pytest.mark.host

IDENTITY, GOVERNANCE = "identity-service", "governance-service"


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    yield from converged(tmp_path, "")


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


def blue(laptop: Laptop, port: int, mode: str = "ok", **changes: Any) -> dict[str, Any]:
    return laptop.service(IDENTITY, port, mode, env={"COLOUR": "blue", "LATE": "2"}, **changes)


def green(laptop: Laptop, port: int, mode: str = "ok", **changes: Any) -> dict[str, Any]:
    return laptop.service(IDENTITY, port, mode, env={"COLOUR": "green"}, **changes)


def test_back_and_forward_again(laptop: Laptop) -> None:
    port, other = free_ports(2)
    laptop.up(laptop.service(GOVERNANCE, other), "--observed", "")
    laptop.up(blue(laptop, port), "--observed", "")
    laptop.up(green(laptop, port), "--observed", "")
    before = laptop.pids()
    done = laptop.run("rollback", IDENTITY)
    whole = {"name": IDENTITY, "generation": 3, "from": 2, "to": 1, "outcome": "restarted"}
    assert json.loads(done.stdout) == whole
    assert "identity-service: from generation 2 back to what generation 1 was" in done.stderr
    assert ask(port)["env"]["COLOUR"] == "blue"
    assert laptop.pids()[GOVERNANCE] == before[GOVERNANCE]
    assert not alive(before[IDENTITY])
    label = "rolled back to generation 1 by hand (after generation 2)"
    for _ in range(2):
        assert laptop.observe() == {"host": "", "services": {IDENTITY: label, GOVERNANCE: ""}, "databases": {}}
    (line,) = laptop.audit("rollback")
    assert {key: line[key] for key in ("name", "outcome", "generation", "from", "to")} == whole
    # Forward again, as the engine would: with the label that its preview showed.
    laptop.up(green(laptop, port), "--observed", label)
    assert ask(port)["env"]["COLOUR"] == "green"
    assert laptop.observe()["services"] == {IDENTITY: label, GOVERNANCE: ""}
    pids = laptop.pids()
    laptop.up(green(laptop, port), "--observed", label)
    assert laptop.pids() == pids


def test_from_one_that_was_killed_and_does_not_come_back(laptop: Laptop, port: int) -> None:
    laptop.up(blue(laptop, port))
    # Healthy when it came, sick now: stopped, it answers nobody.
    laptop.up(green(laptop, port, grace=1))
    sick = laptop.pids()[IDENTITY]
    os.kill(sick, signal.SIGSTOP)
    try:
        assert json.loads(laptop.run("rollback", IDENTITY).stdout)["outcome"] == "restarted"
    finally:
        if alive(sick):
            os.kill(sick, signal.SIGCONT)
    assert ask(port)["env"]["COLOUR"] == "blue"
    assert laptop.status()[IDENTITY]["healthy"]


def test_one_that_fails_puts_the_current_one_back(laptop: Laptop, port: int) -> None:
    needs = laptop.base / "needed"
    needs.mkdir()
    program = laptop.base / "program.py"
    program.write_bytes(TINY.read_bytes())
    laptop.up(blue(laptop, port, argv=[sys.executable, "-IS", str(program)], cwd=str(needs)), "--observed", "first")
    laptop.up(green(laptop, port), "--observed", "second")
    before = laptop.pids()
    program.write_text("raise SystemExit('not what it was')")
    failed = laptop.run("rollback", IDENTITY, fails=1)
    assert "identity-service did not come up: its process ended" in failed.stderr
    assert "not what it was" in failed.stderr
    assert "Generation 2 serves again." in failed.stderr
    assert ask(port)["env"]["COLOUR"] == "green"
    assert laptop.observe()["services"] == {IDENTITY: "second"}
    assert laptop.audit("rollback")[-1]["outcome"] == "failed"
    assert laptop.pids() != before
    before = laptop.pids()
    needs.rmdir()
    failed = laptop.run("rollback", IDENTITY, fails=2)
    assert f"its folder {needs} is not there; nothing was touched" in failed.stderr
    assert laptop.pids() == before


def test_what_can_not_be_asked(laptop: Laptop, port: int) -> None:
    assert "nobody is no service of this host" in laptop.run("rollback", "nobody", fails=2).stderr
    assert "nobody is no service of this host" in laptop.run("generations", "nobody", fails=2).stderr
    laptop.up(blue(laptop, port))
    assert "nothing to go back to" in laptop.run("rollback", IDENTITY, fails=1).stderr
    assert (
        "generation 9 of identity-service is not kept; there are: 1"
        in laptop.run("rollback", IDENTITY, "--to", "9", fails=2).stderr
    )
    assert "invalid int value" in laptop.run("rollback", IDENTITY, "--to", "../1", fails=2).stderr
    assert "is no name" in laptop.run("rollback", "../etc", fails=2).stderr


def test_while_another_run_is_at_work(laptop: Laptop, port: int) -> None:
    laptop.up(blue(laptop, port))
    laptop.up(green(laptop, port))
    run = laptop.begin("up", IDENTITY, stdin=laptop.service(IDENTITY, port, "late", env={"LATE": "3"}))
    wait_for(lambda: "another run is changing it" in laptop.observe()["services"][IDENTITY])
    refused = laptop.run("rollback", IDENTITY, fails=1)
    assert f"identity-service can't go back now: pid {run.pid} is changing it, since" in refused.stderr
    assert run.wait(60) == 0
    run.communicate()
    assert ask(port)["env"]["MODE"] == "late"


def test_killed_in_the_middle(laptop: Laptop, port: int) -> None:
    laptop.up(blue(laptop, port, "late", timeout=30, grace=1))
    laptop.up(green(laptop, port))
    run = laptop.begin("rollback", IDENTITY)
    wait_for(lambda: not laptop.status()[IDENTITY]["healthy"])
    run.kill()
    run.wait(60)
    run.communicate()
    assert laptop.observe()["services"][IDENTITY].startswith("interrupted at generation 3")
    laptop.up(green(laptop, port), "--observed", "whatever it said")
    assert ask(port)["env"]["COLOUR"] == "green"
    assert laptop.observe()["services"] == {IDENTITY: "whatever it said"}


def test_what_is_kept(laptop: Laptop, port: int) -> None:
    laptop.up(blue(laptop, port))
    laptop.up(green(laptop, port, "crash"), fails=1)
    laptop.up(green(laptop, port))
    found = json.loads(laptop.run("generations", IDENTITY, "--json").stdout)
    assert found["name"] == IDENTITY
    assert [(row["generation"], row["good"], row["serves"], row["changing"]) for row in found["generations"]] == [
        (3, True, True, False),
        (2, False, False, False),
        (1, True, False, False),
    ]
    lines = laptop.run("generations", IDENTITY).stdout.splitlines()
    assert lines[0].split() == ["GENERATION", "WHEN", "STATE", "DIGEST", "IMAGE"]
    assert [line.split()[2] for line in lines[1:]] == ["serves", "never", "good"]
    assert json.loads(laptop.run("rollback", IDENTITY).stdout)["to"] == 1  # past the one that never was healthy
    for _ in range(4):
        laptop.run("rollback", IDENTITY)
    assert len(list((laptop.root / "state/generations" / IDENTITY).iterdir())) == 5
    assert laptop.status()[IDENTITY]["generation"] == 8
    assert ask(port)["env"]["COLOUR"] == "blue"
