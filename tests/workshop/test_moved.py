"""A changed `host.address` leaves the old server running: `preview` and `up` say so (design)."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.workshop.conftest import REAL, Project

OLD, NEW = "192.0.2.1", "192.0.2.2"
NOTICE = f"notice: host.address is {NEW}, and what this stack has made is on {OLD}: "
URN = "urn:pulumi:tencent::blockchain-dao::blockchain:host:Host::tencent"


def deployment(address: str) -> dict[str, Any]:
    host = {
        "urn": URN,
        "type": "blockchain:host:Host",
        "custom": False,
        "outputs": {"address": address, "root": "/opt"},
    }
    other = {
        "urn": URN + "-x",
        "type": "command:remote:Command",
        "custom": True,
        "id": "x",
        "outputs": {"address": "?"},
    }
    return {"manifest": {}, "resources": [other, host]}


def of_standalone(project: Project, address: str) -> None:
    state = project.folder / ".standalone" / "tencent.json"
    state.parent.mkdir()
    state.write_text(json.dumps({"version": 3, "deployment": deployment(address)}))


def of_pulumi(project: Project, address: str, packed: bool = False) -> None:
    project.with_pulumi()
    kept = project.folder / ".state" / ".pulumi" / "stacks" / "blockchain-dao"
    kept.mkdir(parents=True)
    text = json.dumps({"version": 3, "checkpoint": {"latest": deployment(address)}}).encode()
    Path(kept, "tencent.json.gz" if packed else "tencent.json").write_bytes(gzip.compress(text) if packed else text)


@pytest.fixture
def moved(project: Project) -> Project:
    (project.folder / "plan").symlink_to(REAL / "plan")
    (project.folder / "Pulumi.tencent.yaml").write_text(f"config:\n  blockchain-dao:host: {{address: {NEW}}}\n")
    return project


def said(project: Project, verb: str, **env: str) -> str:
    done = project.engine(verb, "tencent", PULUMI_CONFIG_PASSPHRASE="x", **env)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("verb", ["preview", "up"])
@pytest.mark.parametrize("engine", ["standalone", "pulumi", "packed"])
def test_it_is_said_once_with_the_cure(moved: Project, verb: str, engine: str) -> None:
    of_standalone(moved, OLD) if engine == "standalone" else of_pulumi(moved, OLD, engine == "packed")
    text = said(moved, verb)
    assert text.count(NOTICE) == 1
    assert f"with `address: {OLD}`, `make destroy STACK=tencent` first" in text
    assert "`make abandon STACK=tencent`" in text


def test_nothing_is_said_where_nothing_moved(moved: Project) -> None:
    assert "notice" not in said(moved, "up")
    of_standalone(moved, NEW)
    assert "notice" not in said(moved, "up")
    (moved.folder / "Pulumi.tencent.yaml").write_text("config:\n  blockchain-dao:host: {address: LOCALHOST}\n")
    (moved.folder / ".standalone" / "tencent.json").write_text(
        json.dumps({"version": 3, "deployment": deployment("127.0.0.1")})
    )
    assert "notice" not in said(moved, "up")


@pytest.mark.parametrize("verb", ["destroy", "outputs"])
def test_other_verbs_go_to_the_old_one_anyway(moved: Project, verb: str) -> None:
    of_standalone(moved, OLD)
    assert "notice" not in said(moved, verb)


def test_a_bucket_can_not_be_looked_at(moved: Project) -> None:
    of_pulumi(moved, OLD)
    assert "notice" not in said(moved, "up", PULUMI_BACKEND_URL="s3://a-bucket")


def test_the_component_says_it_so() -> None:
    """What the tool looks for is what components/host.py registers."""
    from components.host import Host
    from tools import moved as tool

    assert tool.HOST == Host.TYPE
    assert 'register_outputs({"address": self.address' in (REAL / "components/host.py").read_text()
