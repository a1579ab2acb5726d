"""The digest of the edge, and of what is behind it: whatever compose would make another container for is in it.

Compose itself stops what runs first; hostctl looks at the digest, and changes it without a lost request.
"""

from __future__ import annotations

import re

import pytest

from plan.render import definitions, edge
from tests.plan.stacks import Change, plan_of, put

COMPOSE_FILE = "docker-compose-blockchain-tencent.yml"
AUTH = "blockchain-auth"
LABEL = "      blockchain-dao.definition: "


def made(name: str, *changes: Change) -> tuple[str, str]:
    """A service's digest and its block."""
    definition = definitions(plan_of("tencent", *changes))[f"service/{name}"]
    (block,) = [part["text"] for part in definition["parts"] if part["file"] == COMPOSE_FILE]
    return definition["digest"], block


EDGE_CHANGES = {
    "image": put("edge.image", "r.example/haproxy:2.8"),
    "memory": put("edge.memory", "33MB"),
    "cpus": put("edge.cpus", 0.3),
    "certificates": put("edge.certificates", "/etc/tls"),
    "port": put("edge.port", 8418),
    "timeout": put("edge.timeout", 61),
}
SERVICE_CHANGES = {
    "image": put(f"services.{AUTH}.image", "r.example/auth:2.8"),
    "group": put(f"services.{AUTH}.group", "core"),
    "memory": put(f"services.{AUTH}.memory", "65MB"),
    "env": put(f"services.{AUTH}.env", {"A": "b"}),
    "port": put(f"services.{AUTH}.port", 8439),
    "needs": put(f"services.{AUTH}.needs", ["blockchain-audit"]),
    "stop": put(f"services.{AUTH}.stop_grace", 11),
    "subnet": put("host.subnet", "172.30.0.0/24"),
}


@pytest.mark.parametrize("what", EDGE_CHANGES)
def test_another_block_of_the_edge_is_another_digest(what: str) -> None:
    changes_both("edge", EDGE_CHANGES[what])


@pytest.mark.parametrize("what", SERVICE_CHANGES)
def test_another_block_of_a_service_is_another_digest(what: str) -> None:
    changes_both(AUTH, SERVICE_CHANGES[what])


def changes_both(name: str, change: Change) -> None:
    before, after = made(name), made(name, change)
    assert rest(before) != rest(after)
    assert before[0] != after[0]


def rest(one: tuple[str, str]) -> str:
    """The block without the digest itself."""
    digest, block = one
    assert block.count(digest) == 1
    return block.replace(digest, "")


LINES = made("edge", EDGE_CHANGES["certificates"])[1].splitlines()


@pytest.mark.parametrize("line", [line for line in LINES if not line.startswith(LABEL)])
def test_no_line_of_the_edges_block_is_forgotten(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """Whatever the program itself writes otherwise one day."""
    before = made("edge", EDGE_CHANGES["certificates"])
    render = edge._block  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(edge, "_block", lambda *given: render(*given).replace(f"{line}\n", f"{line}x\n"))
    assert made("edge", EDGE_CHANGES["certificates"])[0] != before[0]


@pytest.mark.parametrize(
    "change",
    [
        put("edge.max_connections", 90),
        put("edge.acme_thumbprint", "a" * 43),
        put("services.blockchain-gateway.open_to", ["::/0"]),
    ],
)
def test_what_a_reload_does_makes_no_other_container(change: Change) -> None:
    before, after = definitions(plan_of("tencent")), definitions(plan_of("tencent", change))
    assert before != after
    assert {name: one.get("digest") for name, one in before.items()} == {
        name: one.get("digest") for name, one in after.items()
    }


def test_a_digest_is_twelve_digits() -> None:
    assert re.fullmatch("[0-9a-f]{12}", made("edge")[0])
