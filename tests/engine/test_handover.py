"""standalone's state is the CLI's state: after a handover in either direction the other engine finds nothing to do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.standalone.conftest import until

ROOT = Path(__file__).parents[2]
UV = ROOT / ".uv" / "tool" / "bin"
pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("pulumi") is None, reason="no `pulumi` on PATH"),
]

PROGRAM = """
import json
import pulumi
from pulumi_command import local, remote

config = pulumi.Config()


class Group(pulumi.ComponentResource):
    def __init__(self, name, opts=None):
        super().__init__("handover:index:Group", name, {"size": 2}, opts)
        self.a = local.Command(
            f"{name}-a",
            create="cat >> log; echo made",
            delete="echo delete a >> log",
            stdin=json.dumps({"port": config.require_int("port")}),
            environment={"N": "1"},
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["update"]),
        )
        self.b = local.Command(
            f"{name}-b",
            create=self.a.stdout.apply(lambda out: f"echo b {out} >> log; echo b"),
            triggers=[1, {"deep": [True, None]}],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.a], retain_on_delete=True),
        )
        self.register_outputs({"b": self.b.stdout})


group = Group("group")
secret = local.Command(
    "secret",
    create="cat > got; echo stored",
    delete="rm -f got; echo delete secret >> log",
    stdin=config.require_secret("pw"),
    opts=pulumi.ResourceOptions(depends_on=[group], additional_secret_outputs=["stderr"]),
)
remote.Command(  # it has no command to run, so nobody dials; its connection is what matters here
    "far",
    connection=remote.ConnectionArgs(
        host="192.0.2.1", host_key="ssh-ed25519 AAAA", private_key=config.require_secret("pw")
    ),
)
seen = local.run_output(command="echo seen")
pulumi.export("b", group.b.stdout)
pulumi.export("seen", seen.stdout)
pulumi.export("hidden", config.require_secret("pw"))
"""


class Stand:
    """A project that both engines run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        options = {"toolchain": "uv", "virtualenv": str(ROOT / ".venv")}
        (folder / "Pulumi.yaml").write_text(
            json.dumps({
                "name": "handover",
                "runtime": {"name": "python", "options": options},
                "backend": {"url": "file://./.state"},
                "config": {"port": {"type": "integer", "default": 8301}},
            })
        )  # fmt: skip
        # uv looks for a project here: an empty one, whose environment is the one above.
        (folder / "pyproject.toml").write_text("[project]\nname='handover'\nversion='0'\nrequires-python='>=3.11'\n")
        (folder / "__main__.py").write_text(PROGRAM)
        (folder / ".state").mkdir()
        path = f"{UV}:{os.environ['PATH']}"
        self.env = os.environ | {"PULUMI_CONFIG_PASSPHRASE": "test", "PYTHONPATH": str(ROOT), "PATH": path}

    def call(self, command: list[str], code: int = 0) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def pulumi(self, *args: str, code: int = 0) -> str:
        return self.call(["pulumi", *args, "--non-interactive"], code)

    def standalone(self, verb: str, *args: str, code: int = 0) -> str:
        return self.call([sys.executable, "-m", "standalone", verb, "--stack", "dev", *args], code)

    def resources(self) -> dict[str, Any]:
        document = json.loads((self.folder / ".standalone" / "dev.json").read_text())
        return {r["urn"]: r for r in document["deployment"]["resources"]}


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    made = Stand(tmp_path)
    made.pulumi("stack", "init", "dev")
    made.pulumi("config", "set", "--secret", "pw", "s3cret", "--stack", "dev")
    return made


def test_from_standalone_to_pulumi_and_back(stand: Stand) -> None:
    stand.standalone("up")
    log = (stand.folder / "log").read_text()
    ours = stand.resources()
    stand.standalone("handover", "--to", "pulumi")
    assert stand.standalone("owner").strip() == "pulumi"
    stand.pulumi("preview", "--expect-no-changes", "--diff", "--stack", "dev")
    assert "6 unchanged" in stand.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes", "--stack", "dev")
    assert (stand.folder / "log").read_text() == log
    stand.standalone("up", code=1)

    stand.standalone("handover", "--to", "standalone")
    assert stand.standalone("owner").strip() == "standalone"
    stand.standalone("preview", "--expect-no-changes")
    stand.standalone("up")
    theirs = stand.resources()
    for urn, resource in ours.items():
        for key in ("id", "type", "custom", "parent", "dependencies", "provider", "propertyDependencies"):
            assert theirs[urn].get(key) == resource.get(key), f"{urn} {key}"
    assert json.loads(stand.standalone("outputs", "--json", "--show-secrets")) == {
        "b": "b", "seen": "seen", "hidden": "s3cret",
    }  # fmt: skip
    stand.standalone("destroy")
    assert (stand.folder / "log").read_text().splitlines()[-2:] == ["delete secret", "delete a"]


def test_from_pulumi_to_standalone_and_back(stand: Stand) -> None:
    stand.pulumi("up", "--yes", "--skip-preview", "--stack", "dev")
    theirs = json.loads(stand.pulumi("stack", "export", "--stack", "dev", "--show-secrets"))
    stand.standalone("up", code=1)
    stand.standalone("handover", "--to", "standalone")
    stand.standalone("preview", "--expect-no-changes")
    assert "unchanged" in stand.standalone("up")
    stand.standalone("handover", "--to", "pulumi")
    stand.pulumi("preview", "--expect-no-changes", "--diff", "--stack", "dev")
    again = json.loads(stand.pulumi("stack", "export", "--stack", "dev", "--show-secrets"))

    def essence(document: dict[str, Any]) -> dict[str, Any]:
        keys = ("id", "inputs", "outputs", "parent", "dependencies", "provider", "ignoreChanges", "retainOnDelete")
        return {r["urn"]: {k: r.get(k) for k in keys} for r in document["deployment"]["resources"]}

    assert essence(again) == essence(theirs)
    stand.pulumi("destroy", "--yes", "--skip-preview", "--stack", "dev")
    assert stand.standalone("owner").strip() == "none"


def test_a_plain_import_by_hand(stand: Stand) -> None:
    """What docs/operations.md says: without the last step both engines would have the resources."""
    stand.standalone("up")
    stand.pulumi("stack", "select", "--create", "dev")
    stand.pulumi("stack", "import", "--stack", "dev", "--file", ".standalone/dev.json")
    stand.standalone("owner", code=1)
    (stand.folder / ".standalone" / "dev.json").rename(stand.folder / ".standalone" / "dev.json.handed-over")
    assert stand.standalone("owner") == "pulumi\n"
    stand.pulumi("preview", "--expect-no-changes", "--diff", "--stack", "dev")


def test_a_backend_with_a_query_is_seen(stand: Stand) -> None:
    stand.env["PULUMI_BACKEND_URL"] = "file://./.state?no_tmp_dir=true"
    stand.pulumi("up", "--yes", "--skip-preview", "--stack", "dev")
    assert stand.standalone("owner") == "pulumi\n"
    stand.standalone("up", code=1)
    stand.pulumi("destroy", "--yes", "--skip-preview", "--stack", "dev")


def test_standalone_waits_for_the_clis_first_up(stand: Stand) -> None:
    """Begun by hand, without the lock that `make` takes: the CLI's own lock tells."""
    waits = "touch begun; while [ -e begun ]; do sleep 0.1; done"
    program = f"from pulumi_command import local\nlocal.Command('slow', create={waits!r})\n"
    (stand.folder / "__main__.py").write_text(program)
    begun = stand.folder / "begun"
    command = ["pulumi", "up", "--yes", "--skip-preview", "--stack", "dev", "--non-interactive"]
    cli = subprocess.Popen(command, cwd=stand.folder, env=stand.env, stdout=subprocess.DEVNULL)
    try:
        until(begun.exists, 60)
        stand.standalone("up", code=1)
    finally:
        begun.unlink(missing_ok=True)
        assert cli.wait(60) == 0
    assert stand.standalone("owner") == "pulumi\n"
