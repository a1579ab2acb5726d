"""Which engine owns a stack, and handing it over where there is no Pulumi CLI. (With one: tests/engine.)"""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

from tests.standalone.conftest import Project, command


def as_the_clis(project: Project, compressed: bool = False) -> Path:
    """Put our state where the CLI's local backend has its own."""
    folder = project.folder / ".state" / ".pulumi" / "stacks" / "spec"
    folder.mkdir(parents=True)
    document = {"version": 3, "checkpoint": {"stack": "organization/spec/dev", "latest": project.deployment()}}
    path = folder / ("dev.json.gz" if compressed else "dev.json")
    raw = json.dumps(document).encode()
    path.write_bytes(gzip.compress(raw) if compressed else raw)
    return path


def owner(project: Project) -> str:
    return project.run("owner").stdout.strip()


def test_owner(project: Project) -> None:
    assert owner(project) == "none"
    project.spec(command("a"))
    project.run("up")
    assert owner(project) == "standalone"
    project.run("destroy")
    assert owner(project) == "none"


def test_a_stack_of_the_cli_is_refused_and_can_be_taken_over(project: Project) -> None:
    for compressed in (False, True):
        project.spec(command("a"))
        project.run("up")
        path = as_the_clis(project, compressed)
        assert "both engines have resources" in project.run("owner", code=1).stderr
        project.state_path.unlink()
        assert owner(project) == "pulumi"
        for verb in ("up", "destroy", "outputs"):
            assert "belongs to the Pulumi CLI" in project.run(verb, code=1).stderr
        assert "the Pulumi CLI has this stack's state" in project.run("preview").stdout
        done = project.run("handover", "--to", "standalone")
        assert "is standalone's now" in done.stdout
        assert not path.exists()
        assert owner(project) == "standalone"
        assert project.changes("up") == {"a": "unchanged"}
        project.run("destroy")
        for each in sorted((project.folder / ".state").rglob("*"), reverse=True):
            each.rmdir() if each.is_dir() else each.unlink()


def test_handing_over_without_a_cli_prints_the_steps(project: Project) -> None:
    assert "nothing to hand over" in project.run("handover", "--to", "pulumi", code=1).stderr
    assert "nothing to take over" in project.run("handover", "--to", "standalone", code=1).stderr
    project.spec(command("a"))
    project.run("up")
    done = project.run("handover", "--to", "pulumi", PATH=os.defpath)
    assert "pulumi stack import --stack dev --file" in done.stdout
    assert owner(project) == "standalone", "nothing has happened yet"
