"""The exact files of the three hosts, checked in: a change of them is seen in review (P4, P7).

`UPDATE_GOLDEN=1` writes them anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from plan.render import definitions, host_files
from tests.plan.stacks import RECREATE, STACKS, Change, drop, plan_of, put

HERE = Path(__file__).parent
UPDATE = bool(os.environ.get("UPDATE_GOLDEN"))
FILES = {
    "local": {"blockchain-local.env", "supervisord.conf"},
    "tencent": {"blockchain-tencent.env", "docker-compose-blockchain-tencent.yml"},
    "alibaba": {"blockchain-alibaba.env", "docker-compose-blockchain-alibaba.yml", "prometheus-blockchain-alibaba.yml"},
}
EDGE_FILES = {key: ["edge/haproxy.cfg"] for key in ("tencent", "alibaba")}
# What the documents list and their env files leave out (P4).
BEFORE: dict[str, list[Change]] = {
    "tencent": [*RECREATE["tencent"], drop("defaults")],
    "alibaba": [*RECREATE["alibaba"], put("defaults", {"cpus": 0.08, "memory": "56MB", "disk": "200MB"})],
}
"""The servers without an edge, with limits that leave none room: as they were before there was one."""
LEFT_OUT = {
    "local": ["BLOCKCHAIN_CONFIG_PORT=8311", "BLOCKCHAIN_MONITOR_PORT=8312"],
    "tencent": [
        "BLOCKCHAIN_STORAGE_PORT=8421",
        "BLOCKCHAIN_CACHE_PORT=8422",
        "BLOCKCHAIN_AUTH_PORT=8431",
        "BLOCKCHAIN_ENCRYPT_PORT=8432",
        "BLOCKCHAIN_AUDIT_PORT=8433",
        "BLOCKCHAIN_NEO4J_PORT=7474",
    ],
    "alibaba": [],
}


def rendered(stack: str, *changes: Change) -> dict[str, str]:
    """Every golden file of a stack: its host's files and, as one, the definitions that they are made of."""
    plan = plan_of(stack, *changes)
    made = json.dumps(definitions(plan), indent=2, ensure_ascii=False) + "\n"
    return {**host_files(plan), "definitions.json": made}


@pytest.mark.parametrize("stack", STACKS)
def test_rendered_files_are_the_golden_ones(stack: str) -> None:
    found = rendered(stack)
    assert set(found) == {*FILES[stack], *EDGE_FILES.get(stack, ()), "definitions.json"}
    are_golden(found, HERE / stack)


@pytest.mark.parametrize("stack", BEFORE)
def test_without_an_edge_they_are_the_golden_ones_too(stack: str) -> None:
    found = rendered(stack, *BEFORE[stack])
    assert set(found) == {*FILES[stack], "definitions.json"}
    are_golden(found, HERE / f"{stack}-recreate")


def are_golden(found: dict[str, str], folder: Path) -> None:
    if UPDATE:
        for name, text in found.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(text.encode())
    paths = [path for path in folder.rglob("*") if path.is_file()]
    golden = {str(path.relative_to(folder)): path.read_bytes().decode() for path in paths}
    assert set(golden) == set(found)
    for name, text in found.items():
        assert text == golden[name], f"{folder.name}/{name}: read the difference, then UPDATE_GOLDEN=1"


@pytest.mark.parametrize("stack", STACKS)
def test_an_env_file_is_the_documented_block_and_what_it_leaves_out(stack: str) -> None:
    name = f"blockchain-{stack}.env"
    documented = (HERE / "documented" / name).read_bytes()
    written = host_files(plan_of(stack))[name].encode()
    assert written.startswith(documented)  # P4: byte for byte
    assert written[len(documented) :].decode().splitlines() == LEFT_OUT[stack]  # P4
    assert written.endswith(b"\n")
    assert b"\r" not in written


@pytest.mark.parametrize("edition", ["future", "blockchain"])
def test_editions_are_in_the_compose_file_and_nowhere_in_the_env_file(edition: str) -> None:
    before, after = rendered("tencent"), host_files(plan_of("tencent", put("edition", edition)))
    assert after["blockchain-tencent.env"] == before["blockchain-tencent.env"]
    assert after["docker-compose-blockchain-tencent.yml"] != before["docker-compose-blockchain-tencent.yml"]
