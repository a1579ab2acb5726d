"""Which engine owns a stack, and handing it over where there is no Pulumi CLI. (With one: tests/engine.)"""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from standalone.lock import exclusive
from tests.standalone.conftest import Project, command
from tests.standalone.test_state import DAMAGED


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


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_state_is_a_clear_error_in_every_verb(project: Project, text: bytes) -> None:
    project.spec(command("a"))
    project.state_path.parent.mkdir()
    project.state_path.write_bytes(text)
    for verb in ("owner", "up", "preview", "destroy", "outputs") if text in DAMAGED[:1] else ("owner",):
        done = project.run(verb, code=1)
        assert "dev.json is not a deployment of ours" in done.stderr, verb
        assert "Traceback" not in done.stderr, verb
    assert project.state_path.read_bytes() == text


@pytest.mark.parametrize("text", [b"", b"[]", b'{"checkpoint": 5}', b'{"checkpoint": {"latest": {"resources": [1]}}}'])
def test_a_damaged_checkpoint_of_the_cli_is_a_clear_error(project: Project, text: bytes) -> None:
    folder = project.folder / ".state" / ".pulumi" / "stacks" / "spec"
    folder.mkdir(parents=True)
    (folder / "dev.json").write_bytes(text)
    done = project.run("owner", code=1)
    assert "can't read the CLI's checkpoint" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "url", ["file://./.state?no_tmp_dir=true", "file://{folder}/.state", "file://{folder}/%2Estate"]
)
def test_a_local_backend_is_seen_however_its_url_is_written(project: Project, url: str) -> None:
    project.spec(command("a"))
    project.run("up")
    as_the_clis(project)
    project.state_path.unlink()
    there = {"PULUMI_BACKEND_URL": url.format(folder=project.folder)}
    assert project.run("owner", **there).stdout == "pulumi\n"
    assert "belongs to the Pulumi CLI" in project.run("up", code=1, **there).stderr


def test_where_the_backend_cannot_be_looked_at(project: Project) -> None:
    project.spec(command("a"))
    bucket = {"PULUMI_BACKEND_URL": "s3://bucket?region=x&token=HUNTER2"}
    assert project.run("owner", **bucket).stdout == "unknown\n"
    for verb in ("up", "destroy", "outputs"):
        done = project.run(verb, code=1, **bucket)
        assert "stack dev may be the Pulumi CLI's: its backend s3://bucket can't be looked at" in done.stderr
        assert "pulumi " in done.stderr
        assert "HUNTER2" not in done.stderr
    assert project.log() == []
    assert "this preview begins from nothing" in project.run("preview", **bucket).stdout
    project.run("up")  # with a backend that can be looked at it is ours, and stays so
    assert project.run("owner", **bucket).stdout == "standalone\n"
    project.run("up", **bucket)


def test_while_the_cli_works_on_its_first_up(project: Project) -> None:
    """Its checkpoint has nothing yet, but its lock is there."""
    project.spec(command("a"))
    locks = project.folder / ".state" / ".pulumi" / "locks" / "organization" / "spec" / "dev"
    locks.mkdir(parents=True)
    (locks / "5c0f.json").write_text("{}")
    for verb in ("up", "destroy"):
        done = project.run(verb, code=1)
        assert "the Pulumi CLI works on this stack just now" in done.stderr
        assert "pulumi cancel -s dev" in done.stderr
    assert project.log() == []
    project.run("preview")


def test_the_owner_is_asked_with_the_lock_held(project: Project) -> None:
    """Asked before, a handover could come between the answer and the work."""
    project.spec(command("a"))
    project.run("up")
    as_the_clis(project)  # both have it now: whoever asks fails with that
    with exclusive(project.state_path, "handover"):
        done = project.run("up", code=1)
    assert "another run works on this stack: `handover` by " in done.stderr


def test_handing_over_without_a_cli_prints_the_steps(project: Project) -> None:
    assert "nothing to hand over" in project.run("handover", "--to", "pulumi", code=1).stderr
    assert "nothing to take over" in project.run("handover", "--to", "standalone", code=1).stderr
    project.spec(command("a"))
    project.run("up")
    done = project.run("handover", "--to", "pulumi", PATH=os.defpath)
    assert "pulumi stack import --stack dev --file" in done.stdout
    assert owner(project) == "standalone", "nothing has happened yet"
