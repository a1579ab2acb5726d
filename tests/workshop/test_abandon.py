"""`make abandon`: a lost server's resources are forgotten, and never by accident. (With the real CLI: tests/engine.)"""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from standalone.errors import UserError
from standalone.lock import exclusive, take
from tests.workshop.conftest import REAL, Project
from tests.workshop.terminal import typed

STACK_FILE = "config:\n  blockchain-dao:host: {address: server.example}\n"
URN = "urn:pulumi:tencent::blockchain-dao::"
# What the CLI says to `stack export`, and keeps of `stack import`.
PULUMI = """\
#!{python}
import pathlib, sys
arguments = [word for word in sys.argv[1:] if word != "--non-interactive"]
with open("pulumi.log", "a") as log:
    log.write(" ".join(arguments) + "\\n")
if arguments[:2] == ["stack", "export"]:
    print(pathlib.Path("exported").read_text())
elif arguments[:2] == ["stack", "import"] and pathlib.Path("refuses").exists():
    sys.exit("the stack is currently locked by 1 lock(s)")
elif arguments[:2] == ["stack", "import"]:
    pathlib.Path("imported").write_text(sys.stdin.read())
"""


def resource(name: str, kind: str = "command:remote:Command") -> dict[str, Any]:
    return {"urn": f"{URN}{kind}::{name}", "type": kind, "custom": kind != "pulumi:pulumi:Stack", "id": name}


DEPLOYMENT = {
    "resources": [
        resource("blockchain-dao-tencent", "pulumi:pulumi:Stack"),
        resource("default", "pulumi:providers:command"),
        resource("tencent-host"),
        {**resource("identity-service"), "protect": True},
    ],
    "pending_operations": [{"resource": resource("mysql"), "type": "deleting"}],
}
NAMES = "tencent has 3 resources: identity-service, mysql, tencent-host."


class Stack:
    """A project whose stack `tencent` has resources of one engine."""

    def __init__(self, project: Project) -> None:
        self.project, self.folder = project, project.folder
        (project.folder / "Pulumi.tencent.yaml").write_text(STACK_FILE)
        self.state = project.folder / ".standalone" / "tencent.json"
        self.checkpoint = project.folder / ".state" / ".pulumi" / "stacks" / "blockchain-dao" / "tencent.json"

    def of_standalone(self) -> None:
        self.state.parent.mkdir(mode=0o700, exist_ok=True)
        self.state.write_text(json.dumps({"version": 3, "deployment": DEPLOYMENT}))

    def of_pulumi(self) -> None:
        self.project.program("pulumi", PULUMI.format(python=sys.executable))
        self.checkpoint.parent.mkdir(parents=True)
        self.checkpoint.write_text(json.dumps({"version": 3, "checkpoint": {"latest": DEPLOYMENT}}))
        (self.folder / "exported").write_text(json.dumps({"version": 3, "deployment": DEPLOYMENT}))

    def abandon(self, **env: str) -> subprocess.CompletedProcess[str]:
        return self.project.run(sys.executable, "tools/abandon.py", **{"STACK": "tencent", **env})

    def on_a_terminal(
        self, answer: str | int | None, meanwhile: Callable[[], object] = lambda: None
    ) -> tuple[int, str]:
        env = {**self.project.env, "STACK": "tencent"}
        command = [sys.executable, "tools/abandon.py"]
        return typed(command, answer, cwd=self.folder, env=env, prompt="to abandon it: ", meanwhile=meanwhile)

    def backups(self, folder: Path) -> list[Path]:
        return sorted(folder.glob("tencent*.abandoned-*"))

    def calls(self) -> list[str]:
        log = self.folder / "pulumi.log"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def stack(project: Project) -> Stack:
    (project.folder / "plan").symlink_to(REAL / "plan")
    return Stack(project)


class TestStandalone:
    def test_it_is_forgotten_and_kept_beside(self, stack: Stack) -> None:
        stack.of_standalone()
        before = stack.state.read_bytes()
        done = stack.abandon(CONFIRM="tencent")
        assert done.returncode == 0, done.stderr
        (kept,) = stack.backups(stack.state.parent)
        assert (kept.read_bytes(), stack.state.exists()) == (before, False)
        assert done.stdout.splitlines()[:2] == ["engine: standalone", NAMES]
        for words in ("no `delete` is run, and nobody asks server.example", f"as it was: {kept}\n", "starts afresh"):
            assert words in done.stdout
        (back,) = [line for line in done.stdout.splitlines() if line.startswith("  to have it back")]
        subprocess.run(shlex.split(back.partition(": ")[2]), check=True)
        assert stack.state.read_bytes() == before

    def test_a_second_time_there_is_nothing(self, stack: Stack) -> None:
        assert "nothing to abandon: tencent has no resources" in stack.abandon().stdout
        stack.of_standalone()
        stack.abandon(CONFIRM="tencent")
        done = stack.abandon()
        assert done.returncode == 0
        assert "nothing to abandon: tencent has no resources" in done.stdout
        assert len(stack.backups(stack.state.parent)) == 1

    def test_the_name_typed_on_a_terminal(self, stack: Stack) -> None:
        stack.of_standalone()
        for answer, words in (
            ("yes", '"yes" is not tencent; nothing was abandoned'),
            ("", "no answer; nothing was abandoned"),
            (None, "no answer; nothing was abandoned"),
            (int(signal.SIGINT), "stopped; nothing was abandoned"),
        ):
            code, said = stack.on_a_terminal(answer)
            assert code == (130 if answer == signal.SIGINT else 2), said
            assert words in said
            assert "Traceback" not in said
            assert stack.state.exists()
            assert stack.backups(stack.state.parent) == []
        code, said = stack.on_a_terminal("tencent")
        assert code == 0, said
        assert not stack.state.exists()

    @pytest.mark.parametrize("confirm", ["", "alibaba", "yes", "TENCENT"])
    def test_without_a_terminal_it_must_be_said(self, stack: Stack, confirm: str) -> None:
        stack.of_standalone()
        done = stack.abandon(CONFIRM=confirm)
        assert done.returncode == 2
        wrong = f'"{confirm}" is not tencent' if confirm else "cure: make abandon STACK=tencent CONFIRM=tencent"
        assert wrong in done.stderr
        assert stack.state.exists()

    def test_a_damaged_state_is_left_alone(self, stack: Stack) -> None:
        stack.of_standalone()
        stack.state.write_text("{")
        done = stack.abandon(CONFIRM="tencent")
        assert done.returncode == 1
        assert "is not a deployment of ours" in done.stderr
        assert stack.state.read_text() == "{"


class TestPulumi:
    def test_an_export_is_kept_and_nothing_imported(self, stack: Stack) -> None:
        stack.of_pulumi()
        done = stack.abandon(CONFIRM="tencent")
        assert done.returncode == 0, done.stderr
        assert NAMES in done.stdout
        assert stack.calls() == ["stack export --stack tencent", "stack import --stack tencent"]
        (kept,) = stack.backups(stack.checkpoint.parent)
        assert json.loads(kept.read_text()) == json.loads((stack.folder / "exported").read_text())
        assert kept.stat().st_mode & 0o777 == 0o600
        imported = json.loads((stack.folder / "imported").read_text())
        assert imported["deployment"]["resources"] == []
        assert "pending_operations" not in imported["deployment"]
        assert f"pulumi stack import --stack tencent --file '{kept}'" in done.stdout

    @pytest.mark.parametrize("confirm", ["", "yes"])
    def test_unconfirmed_it_only_looks(self, stack: Stack, confirm: str) -> None:
        stack.of_pulumi()
        assert stack.abandon(CONFIRM=confirm).returncode == 2
        assert stack.calls() == ["stack export --stack tencent"]
        assert stack.backups(stack.checkpoint.parent) == []

    def test_an_import_that_fails_leaves_no_backup_that_tells_of_none(self, stack: Stack) -> None:
        stack.of_pulumi()
        (stack.folder / "refuses").touch()
        done = stack.abandon(CONFIRM="tencent")
        assert done.returncode == 1
        assert "`pulumi stack import`: the stack is currently locked by 1 lock(s)" in done.stderr
        assert stack.backups(stack.checkpoint.parent) == []

    def test_while_the_cli_works_by_hand(self, stack: Stack) -> None:
        stack.of_pulumi()
        locks = stack.folder / ".state" / ".pulumi" / "locks" / "organization" / "blockchain-dao" / "tencent"
        locks.mkdir(parents=True)
        (locks / "5c0f.json").write_text("{}")
        done = stack.abandon(CONFIRM="tencent")
        assert done.returncode == 1
        assert "the Pulumi CLI works on this stack just now" in done.stderr
        assert stack.calls() == []

    def test_a_bucket_is_asked_and_its_backup_is_kept_here(self, stack: Stack) -> None:
        stack.of_pulumi()
        shutil.rmtree(stack.folder / ".state")
        done = stack.abandon(CONFIRM="tencent", PULUMI_BACKEND_URL="s3://bucket")
        assert done.returncode == 0, done.stderr
        assert stack.calls()[0] == "stack select tencent"
        (kept,) = stack.backups(stack.folder / ".standalone")
        assert json.loads(kept.read_text()) == json.loads((stack.folder / "exported").read_text())


def test_the_other_engines_stack_is_refused(stack: Stack) -> None:
    stack.of_pulumi()
    done = stack.abandon(CONFIRM="tencent", ENGINE="standalone")
    assert done.returncode == 1
    assert "error: the stack tencent is owned by pulumi" in done.stderr
    assert stack.calls() == []
    shutil.rmtree(stack.folder / ".state")
    stack.of_standalone()
    done = stack.abandon(CONFIRM="tencent")
    assert done.returncode == 1
    assert "error: the stack tencent is owned by standalone" in done.stderr
    assert stack.state.exists()


def test_a_bucket_that_standalone_cannot_ask(stack: Stack) -> None:
    done = stack.abandon(CONFIRM="tencent", PULUMI_BACKEND_URL="s3://bucket")
    assert done.returncode == 1
    assert "may be the Pulumi CLI's: its backend s3://bucket can't be looked at" in done.stderr


def test_while_another_run_works_on_it(stack: Stack) -> None:
    stack.of_standalone()
    with exclusive(stack.state, "up"):
        done = stack.abandon(CONFIRM="tencent")
    assert done.returncode == 1
    assert "error: another run works on this stack: `up` by " in done.stderr
    assert stack.state.exists()
    assert stack.abandon(CONFIRM="tencent").returncode == 0


def test_nobody_begins_while_it_is_asked(stack: Stack) -> None:
    stack.of_standalone()

    def somebody_else_begins() -> None:
        with pytest.raises(UserError, match="another run works on this stack: `abandon` by "):
            take(stack.state, "up")

    code, said = stack.on_a_terminal("tencent", somebody_else_begins)
    assert code == 0, said


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost"])
def test_a_laptop_is_never_gone(stack: Stack, address: str) -> None:
    stack.of_standalone()
    (stack.folder / "Pulumi.tencent.yaml").write_text(STACK_FILE.replace("server.example", address))
    done = stack.abandon(CONFIRM="tencent")
    assert done.returncode == 1
    assert "cure: `make destroy STACK=tencent` takes it down" in done.stderr
    assert stack.state.exists()


def test_a_stack_that_does_not_exist(stack: Stack) -> None:
    done = stack.abandon(STACK="nowhere", CONFIRM="nowhere")
    assert done.returncode == 1
    assert 'there is no stack "nowhere"; there are: local, tencent' in done.stderr
