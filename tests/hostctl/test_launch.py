"""What supervisord runs: it becomes the service, with its own settings and secrets only (D6)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hostctl.context import Context
from hostctl.definitions import parse_host, parse_service
from hostctl.launch import variable
from hostctl.layout import write_json
from hostctl.redact import env_file
from tests.host.laptop import REPOSITORY
from tests.hostctl import samples

HOSTCTL = [sys.executable, "-m", "hostctl"]
TELL = "import json, os, sys; print(json.dumps([dict(os.environ), os.getcwd(), sys.argv[1:]]))"


class Prepared:
    """A host with one definition, without any runtime."""

    def __init__(self, root: Path) -> None:
        self.context = Context(str(root / ".local"), "test")
        self.context.layout.make()
        self.base = root
        definition = parse_host(samples.raw(samples.host()))
        write_json(
            self.context.layout.host, {"base": str(root), "definition": definition, "generation": 1, "label": ""}
        )

    def launch(self, **changes: Any) -> subprocess.CompletedProcess[str]:
        definition = parse_service(samples.raw(samples.service(**changes)), "identity-service")
        self.context.store.begin(definition, self.context.me, "1")
        return subprocess.run(
            [*HOSTCTL, "--root", self.context.layout.root, "launch", "identity-service", definition["digest"]],
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "TOKEN": "the caller's", "HOME": "/root"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def told(self, **changes: Any) -> Any:
        done = self.launch(argv=[sys.executable, "-IS", "-c", TELL, *changes.pop("words", [])], **changes)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def secret(self, owner: str, **values: str) -> None:
        self.context.layout.secret_file(owner).write_text(env_file(values))


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return Prepared(tmp_path)


def test_only_a_few_names_come_in_from_outside(prepared: Prepared) -> None:
    env, _, _ = prepared.told()
    env.pop("LC_CTYPE", None)  # Python's own
    assert env == {"PATH": "/usr/bin:/bin", "HOME": "/root", "SERVICE_PORT": "8302"}


def test_secrets_of_the_files_that_it_names(prepared: Prepared) -> None:
    prepared.secret("mysql", PASSWORD='a "b" \\ $c\nd')
    prepared.secret("identity-service", TOKEN="own", SERVICE_PORT="1")
    prepared.secret("redis", PASSWORD="not for it")
    env, _, _ = prepared.told(secrets=["mysql", "identity-service", "postgres"])
    assert env["BLOCKCHAIN_MYSQL_PASSWORD"] == 'a "b" \\ $c\nd'
    assert env["TOKEN"] == "own"
    assert env["SERVICE_PORT"] == "8302"  # a setting is stronger than a secret of its name
    assert not any("not for it" in value for value in env.values())


def test_placeholders(prepared: Prepared) -> None:
    (prepared.base / "image").mkdir()
    env, cwd, words = prepared.told(
        cwd="{base}/image", env={"DATA": "{root}/data", "OTHER": "{other} {}"}, words=["{base}/x"]
    )
    assert env["DATA"] == f"{prepared.base}/.local/data"
    assert env["OTHER"] == "{other} {}"
    assert cwd == f"{prepared.base}/image"
    assert words == [f"{prepared.base}/x"]


def test_a_relative_program_is_the_projects_and_no_link_is_followed(prepared: Prepared) -> None:
    (prepared.base / "bin").mkdir()
    (prepared.base / "bin/mine").symlink_to("/bin/sh")
    done = prepared.launch(argv=["bin/mine", "-c", "echo $0"], cwd="bin")
    assert done.stdout == f"{prepared.base}/bin/mine\n" or done.stdout == "bin/mine\n"


def test_what_is_missing_is_said(prepared: Prepared) -> None:
    assert "its program no-such-program can't be run" in prepared.launch(argv=["no-such-program"]).stderr
    assert "its folder" in prepared.launch(cwd="nowhere").stderr


def test_settings_that_are_gone(prepared: Prepared) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hostctl", "--root", prepared.context.layout.root, "launch", "x", "abcdef"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "there are no settings abcdef of x" in done.stderr


def test_what_it_writes_down_holds_no_secret(prepared: Prepared) -> None:
    prepared.secret("mysql", PASSWORD="hush")
    prepared.told(secrets=["mysql"])
    written = (prepared.context.layout.running / "identity-service.json").read_text()
    assert "hush" not in written
    assert set(json.loads(written)) == {"process", "digest", "secrets"}


def test_names_of_passwords() -> None:
    assert variable("mysql", "PASSWORD", "identity-service") == "BLOCKCHAIN_MYSQL_PASSWORD"
    assert variable("identity-service", "PASSWORD", "identity-service") == "PASSWORD"
    assert variable("mysql", "OTHER", "identity-service") == "OTHER"
