"""Secrets: opened as the CLI's passphrase provider wrote them, never shown, never stored in clear."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from standalone.crypto import Crypter, Keyring
from standalone.errors import UserError, WrongPassphrase
from tests.standalone.conftest import Project, command

# pulumi/pulumi, pkg/secrets/passphrase/manager_test.go: the state of the passphrase "password".
GO_SALT = "v1:fozI5u6B030=:v1:F+6ZduKKd8G0/V7L:PGMFeIzwobWRKmEAzUdaQHqC5mMRIQ=="
# Written by Pulumi 3.259.0 with `pulumi config set --secret`, passphrase "test".
CLI_SALT = "v1:aRDbiVOtheQ=:v1:Sq0ohb6UMcGcK2ay:EzSo7iHFsChYcuilRU9azWAvEt15Zg=="
CLI_SECRET = "v1:hZfGFi+mqFlusrph:R68w0I03MFFVi9Hu8bCDjgGaFuHQDg=="
CLI_NESTED = "v1:DJp9WaoIXEQNM7DP:yZqyo3VZgjt3VNhluF1ZdsKoAG4c"
STACK = f"""# ours
config:
  spec:pw:
    secure: {CLI_SECRET}
  spec:db:
    host: db.example
    password:
      secure: {CLI_NESTED}
encryptionsalt: {CLI_SALT}
"""
TEST = {"PULUMI_CONFIG_PASSPHRASE": "test"}


@pytest.fixture
def secretive(project: Project) -> Project:
    """A stack with a secret, and one inside a structured value."""
    (project.folder / "Pulumi.dev.yaml").write_text(STACK)
    return project


def test_the_clis_own_vectors() -> None:
    assert Keyring("password").crypter(GO_SALT).salt_line == GO_SALT
    opened = Keyring("test").crypter(CLI_SALT)
    assert opened.decrypt(CLI_SECRET) == "s3cret"
    assert opened.decrypt(CLI_NESTED) == "inner"
    with pytest.raises(WrongPassphrase):
        Keyring("password123").crypter(GO_SALT)
    with pytest.raises(UserError, match="no passphrase"):
        Keyring(None).crypter(GO_SALT)
    with pytest.raises(UserError, match="not of the form"):
        Keyring("x").crypter("fozI5u6B030=:v1:F+6ZduL:PGMFeIzwobWRKmEAzUdaQHqC5mMRIQ==")


def test_round_trip_and_damage() -> None:
    crypter = Crypter(bytes(32), "")
    sealed = crypter.encrypt("snow ☃")
    assert crypter.decrypt(sealed) == "snow ☃"
    assert crypter.encrypt("snow ☃") != sealed
    for damaged in ("v2:AAAA:BBBB", "v1:AAAA", sealed[:-4] + "AAA=", "v1:!!:!!"):
        with pytest.raises(UserError):
            crypter.decrypt(damaged)


def test_up_opens_them_and_stores_none_in_clear(secretive: Project) -> None:
    secretive.spec(
        command("a", args={"create": "cat > got; echo ok", "stdin": "$secret:pw"}),
        command("leak", args={"create": "cat", "stdin": "$secret:pw"}),
        command("fails", args={"create": "cat >&2; exit 1", "stdin": "$secret:pw"}),
        exports=("a", "leak"),
    )
    done = secretive.run("up", code=1, **TEST)
    assert (secretive.folder / "got").read_text() == "s3cret"
    text = secretive.state_path.read_text()
    assert "s3cret" not in done.stdout + done.stderr + text
    assert "inner" not in text
    state = secretive.resources()
    assert state["a"]["outputs"]["stdout"] == "ok", "what doesn't repeat the secret stays readable"
    assert "ciphertext" in state["leak"]["outputs"]["stdout"]
    assert json.loads(secretive.run("outputs", "--json").stdout) == {"a": "ok", "leak": "[secret]"}
    shown = secretive.run("outputs", "--json", "--show-secrets", **TEST)
    assert json.loads(shown.stdout) == {"a": "ok", "leak": "s3cret"}
    assert "no passphrase" in secretive.run("outputs", "--show-secrets", code=1).stderr


def test_unchanged_secrets_leave_the_state_as_it_is(secretive: Project) -> None:
    secretive.spec(command("a", args={"stdin": "$secret:pw", "create": "cat"}), exports=("a",))
    secretive.run("up", **TEST)
    before = secretive.state_path.read_bytes()
    assert "1 unchanged" in secretive.run("up", **TEST).stdout
    assert secretive.state_path.read_bytes() == before


def test_a_changed_secret_is_an_update_that_shows_nothing(secretive: Project) -> None:
    secretive.spec(command("a", args={"stdin": "$secret:pw"}))
    secretive.run("up", **TEST)
    other = Keyring("test").crypter(CLI_SALT).encrypt("another one")
    (secretive.folder / "Pulumi.dev.yaml").write_text(STACK.replace(CLI_SECRET, other))
    done = secretive.run("up", **TEST)
    assert "~ stdin: [secret] -> [secret]" in done.stdout
    assert "another one" not in done.stdout + secretive.state_path.read_text()


def test_without_a_passphrase(secretive: Project) -> None:
    secretive.spec(command("a", args={"stdin": "$secret:pw"}))
    for verb in ("up", "destroy"):
        if verb == "destroy":
            secretive.run("up", **TEST)
        refused = secretive.run(verb, code=1)
        assert "set PULUMI_CONFIG_PASSPHRASE" in refused.stderr
    assert "placeholders in this preview" in secretive.run("preview").stdout
    assert secretive.changes() == {"a": "unchanged"}
    fresh = Path(secretive.state_path)
    fresh.unlink()
    assert secretive.changes() == {"a": "create"}


def test_a_wrong_passphrase_is_said_before_anything_is_touched(secretive: Project) -> None:
    secretive.spec(command("a"))
    for verb in ("up", "preview"):
        refused = secretive.run(verb, code=1, PULUMI_CONFIG_PASSPHRASE="tset")
        assert "error: wrong passphrase" in refused.stderr
    assert secretive.log() == []
    assert not secretive.state_path.exists()


def test_a_passphrase_in_a_file(secretive: Project, tmp_path: Path) -> None:
    secretive.spec(command("a", args={"stdin": "$secret:pw"}))
    (tmp_path / "phrase").write_text("test\n")
    secretive.run("up", PULUMI_CONFIG_PASSPHRASE_FILE=str(tmp_path / "phrase"))
    refused = secretive.run("up", code=1, PULUMI_CONFIG_PASSPHRASE_FILE="/no/such")
    assert "can't read /no/such" in refused.stderr


PROGRAM_SECRET = """
import pulumi
from pulumi_command import local

local.Command("a", create="cat", stdin=pulumi.Output.secret("program's own"),
              opts=pulumi.ResourceOptions(additional_secret_outputs=["stderr"]))
local.Command("b", create="echo b >> log")
"""


def test_the_salt_is_made_when_the_first_secret_must_be_stored(project: Project) -> None:
    before = (project.folder / "Pulumi.dev.yaml").read_text()
    project.spec(command("a"))
    project.run("up", **TEST)
    assert (project.folder / "Pulumi.dev.yaml").read_text() == before
    project.program(PROGRAM_SECRET)
    refused = project.run("up", code=1)
    assert "set PULUMI_CONFIG_PASSPHRASE" in refused.stdout
    assert (project.folder / "Pulumi.dev.yaml").read_text() == before
    project.run("up", **TEST)
    after = (project.folder / "Pulumi.dev.yaml").read_text()
    (line,) = [one for one in after.splitlines(keepends=True) if one not in before.splitlines(keepends=True)]
    assert after.replace(line, "") == before
    salt = line.removeprefix("encryptionsalt: ").strip()
    assert project.deployment()["secrets_providers"] == {"type": "passphrase", "state": {"salt": salt}}
    assert "program's own" not in project.state_path.read_text()
    assert "ciphertext" in project.resources()["a"]["outputs"]["stderr"]
    assert "wrong passphrase" in project.run("up", code=1, PULUMI_CONFIG_PASSPHRASE="x").stderr
    assert project.changes("up", **TEST) == {"a": "unchanged", "b": "unchanged"}


def test_the_state_is_for_its_owner_only(secretive: Project) -> None:
    secretive.spec(command("a"))
    secretive.run("up", **TEST)
    assert secretive.state_path.stat().st_mode & 0o777 == 0o600
    assert secretive.state_path.parent.stat().st_mode & 0o777 == 0o700


def test_encrypt_prints_what_the_stack_file_holds(secretive: Project) -> None:
    file = secretive.folder / "Pulumi.dev.yaml"
    before = file.read_text()
    first = secretive.run("encrypt", stdin='n\u00e9w "quoted"\n', **TEST).stdout
    second = secretive.run("encrypt", stdin='n\u00e9w "quoted"\n', **TEST).stdout
    assert first != second, "a nonce of its own each time"
    sealed = yaml.safe_load(first)["secure"]
    assert Keyring("test").crypter(CLI_SALT).decrypt(sealed) == 'n\u00e9w "quoted"'
    assert file.read_text() == before
    assert "no secret was given" in secretive.run("encrypt", code=1, **TEST).stderr
    assert "no passphrase" in secretive.run("encrypt", stdin="x", code=1).stderr


def test_encrypt_gives_a_stack_its_salt(project: Project) -> None:
    made = yaml.safe_load(project.run("encrypt", stdin="pw", **TEST).stdout)["secure"]
    salt = yaml.safe_load((project.folder / "Pulumi.dev.yaml").read_text())["encryptionsalt"]
    assert Keyring("test").crypter(salt).decrypt(made) == "pw"
