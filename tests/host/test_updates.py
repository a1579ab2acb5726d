"""Updates that lose no request (issue 5): under load, with faults, the edge itself, and what the edge costs."""

from __future__ import annotations

import os

import pytest

from tests.host.loads import Load, assert_exact, assert_none_lost, counted, forget, line
from tests.host.servers import Server
from tests.lab.lab import Lab

pytestmark = [pytest.mark.host, pytest.mark.timeout(900)]
SOAK = bool(os.environ.get("SOAK"))
UPDATES = 20 if SOAK else 3
CHANGED, OTHER = "blockchain-audit", "blockchain-cache"
STARTUP = {"STAND_IN_STARTUP_SECONDS": "3"}


@pytest.fixture(scope="module")
def converged(tmp_path_factory: pytest.TempPathFactory, lab: Lab) -> Server:
    """All twelve; one that can take 500 requests a second. One for all: each test leaves it converged."""
    lab.start("alibaba")
    lab.hosts["alibaba"].reset()
    made = Server(tmp_path_factory.mktemp("updates"), "alibaba", lab.hosts["alibaba"])
    made.edit(lambda values: values["host"].update(cpus=16))
    for name in (CHANGED, OTHER):
        made.set(name, cpus=1, env=STARTUP)
    made.edit(lambda values: values.update(edge={"cpus": 1}))
    made.up()
    return made


@pytest.fixture
def server(converged: Server) -> Server:
    assert converged.all_healthy()
    return converged


def change(server: Server, **env: str) -> None:
    """Another version of the changed service."""
    server.set(CHANGED, env={**STARTUP, **env})


def targets(server: Server, changed: int = 500, other: int = 50) -> list[dict[str, object]]:
    port = {one.name: one.port for one in server.plan().running}
    return [
        {"name": CHANGED, "port": port[CHANGED], "rate": changed},
        {"name": OTHER, "port": port[OTHER], "rate": other},
    ]


def test_updates_under_load(server: Server, record_property: pytest.RecordProperty) -> None:
    """P11, D25."""
    host = server.host
    quiet = Load(host, *targets(server), seconds=3).run()
    change(server, MARK="first")
    server.up()  # a process that counts from here on
    forget(host, CHANGED)
    change(server, MARK="second")
    with Load(host, *targets(server)) as load:
        for number in range(UPDATES):
            change(server, MARK=str(number))
            server.up()
    for name in (CHANGED, OTHER):
        record_property("printed", line(f"{name}, quiet", quiet[name]))
        record_property("printed", line(f"{name}, {UPDATES} updates", load.found[name]))
        print(line(f"{name}, quiet", quiet[name]), line(f"{name}, {UPDATES} updates", load.found[name]))
        assert_none_lost(load.found[name])
    print(counted(host, CHANGED), load.found[CHANGED]["served_by"])
    assert_exact(load.found[CHANGED], counted(host, CHANGED))
    assert load.found[CHANGED]["ms"]["p99"] < max(5 * quiet[CHANGED]["ms"]["p99"], 50)
