"""`make abandon` with the real CLI: a stack whose deletes can't work is forgotten, without its passphrase."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.standalone.conftest import until

ROOT = Path(__file__).parents[2]
UV = ROOT / ".uv" / "tool" / "bin"
pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("pulumi") is None, reason="no `pulumi` on PATH"),
]

# Every delete fails, as it does where no server answers; one resource is protected, one has a secret.
PROGRAM = """
import pulumi
from pulumi_command import local

config = pulumi.Config()
host = local.Command("host", create="echo host >> log", delete="echo delete >> log; false")
opts = pulumi.ResourceOptions(depends_on=[host], protect=config.get_bool("protect"))
local.Command(
    "service", create="cat > got; echo service >> log", delete="echo delete >> log; false",
    stdin=config.require_secret("pw"), opts=opts,
)
pulumi.export("address", "server.example")
"""
MADE = ["host", "service"]


class Lost:
    """A project beside our tools, and its stack `far`, whose server is gone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("tools", "standalone", "plan"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / ".venv").symlink_to(ROOT / ".venv")
        (folder / "Pulumi.yaml").write_text(
            "name: lost\nruntime: {name: python, options: {toolchain: uv, virtualenv: .venv}}\n"
            "backend: {url: 'file://./.state'}\n"
        )
        (folder / "Pulumi.far.yaml").write_text("config:\n  lost:host: {address: server.example}\n")
        (folder / "pyproject.toml").write_text(
            "[project]\nname='lost'\nversion='0'\nrequires-python='>=3.11'\n[tool.uv]\nrequired-version = \">=0.1.0\"\n"
        )
        (folder / "__main__.py").write_text(PROGRAM)
        (folder / ".state").mkdir()
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("PULUMI")}
        self.env |= {"PATH": f"{UV}:{os.environ['PATH']}", "PULUMI_SKIP_UPDATE_CHECK": "1"}
        self.phrase = {"PULUMI_CONFIG_PASSPHRASE": "test"}

    def call(self, *command: str, code: int | None = 0, **env: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.env | env, capture_output=True, text=True, timeout=120, check=False
        )
        assert code is None or done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def pulumi(self, *words: str, code: int | None = 0) -> str:
        return self.call("pulumi", *words, "--non-interactive", code=code, **self.phrase)

    def abandon(self, code: int = 0, **env: str) -> str:
        return self.call(sys.executable, "tools/abandon.py", code=code, STACK="far", **env)

    def owner(self) -> str:
        return self.call(sys.executable, "-m", "standalone", "owner", "--stack", "far").strip()

    def log(self) -> list[str]:
        path = self.folder / "log"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def lost(tmp_path: Path) -> Lost:
    made = Lost(tmp_path)
    made.pulumi("stack", "init", "far")
    made.pulumi("config", "set", "--secret", "pw", "s3cret", "-s", "far")
    made.pulumi("config", "set", "protect", "true", "-s", "far")
    made.pulumi("up", "--yes", "--skip-preview", "-s", "far")
    return made


def test_what_no_destroy_takes_away_is_abandoned_and_begins_anew(lost: Lost) -> None:
    lost.pulumi("destroy", "--yes", "--skip-preview", "-s", "far", code=1)
    assert lost.owner() == "pulumi"
    stack_file = (lost.folder / "Pulumi.far.yaml").read_bytes()
    before = lost.log()
    said = lost.abandon(CONFIRM="far")  # no passphrase: there may be nobody left who knows it
    assert "far has 2 resources: host, service." in said
    assert lost.owner() == "none"
    assert lost.log() == before, "no delete was run"
    assert (lost.folder / "Pulumi.far.yaml").read_bytes() == stack_file
    assert "nothing to abandon" in lost.abandon()
    lost.pulumi("preview", "-s", "far")
    lost.pulumi("up", "--yes", "--skip-preview", "-s", "far")
    assert lost.log() == [*before, *MADE]
    assert (lost.folder / "got").read_text() == "s3cret"
    lost.pulumi("preview", "-s", "far", "--expect-no-changes")


def test_the_kept_state_can_be_had_back(lost: Lost) -> None:
    said = lost.abandon(CONFIRM="far")
    (back,) = [line for line in said.splitlines() if "to have it back" in line]
    kept = shlex.split(back)[-1]
    assert "s3cret" not in Path(kept).read_text()
    assert Path(kept).stat().st_mode & 0o777 == 0o600
    lost.call(*shlex.split(back.partition(": ")[2]), **lost.phrase)
    assert lost.owner() == "pulumi"
    lost.pulumi("preview", "-s", "far", "--expect-no-changes")
    assert "far" in lost.pulumi("stack", "ls"), "a backup beside it is no stack"
    assert "abandoned" not in lost.pulumi("stack", "ls")


def test_not_while_an_up_by_hand_works(lost: Lost) -> None:
    slow = "local.Command('slow', create='touch begun; while [ -e begun ]; do sleep 0.1; done')\n"
    (lost.folder / "__main__.py").write_text(PROGRAM + slow)
    command = ["pulumi", "up", "--yes", "--skip-preview", "-s", "far", "--non-interactive"]
    cli = subprocess.Popen(command, cwd=lost.folder, env=lost.env | lost.phrase, stdout=subprocess.DEVNULL)
    begun = lost.folder / "begun"
    try:
        until(begun.exists, 60)
        assert "the Pulumi CLI works on this stack just now" in lost.abandon(code=1, CONFIRM="far")
    finally:
        begun.unlink(missing_ok=True)
        assert cli.wait(60) == 0
    assert lost.owner() == "pulumi"


def test_the_other_engine_refuses(lost: Lost) -> None:
    assert "owned by pulumi" in lost.abandon(code=1, CONFIRM="far", ENGINE="standalone")
    lost.call(sys.executable, "-m", "standalone", "handover", "--to", "standalone", "--stack", "far", **lost.phrase)
    assert "owned by standalone" in lost.abandon(code=1, CONFIRM="far")
    before = lost.log()
    lost.abandon(CONFIRM="far", ENGINE="standalone")
    assert lost.owner() == "none"
    assert lost.log() == before
    # And now the CLI may begin: nobody owns it.
    lost.pulumi("stack", "select", "--create", "far")
    lost.pulumi("up", "--yes", "--skip-preview", "-s", "far")
    assert lost.log() == [*before, *MADE]
