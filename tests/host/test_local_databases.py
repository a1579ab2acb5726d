"""`local` with a real MariaDB and a real Redis on its database ports (P1, D9), and without them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host import databases
from tests.program_copy import ProgramCopy, program_copy, wait_for

pytestmark = [pytest.mark.host, pytest.mark.timeout(400)]


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    reason = databases.ensure_installed()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[ProgramCopy]:
    with program_copy(tmp_path / "clone") as made:
        yield made


def states(copy: ProgramCopy) -> dict[str, str]:
    _, ready = copy.get("identity-service", "/ready")
    return {name: row["state"] for name, row in ready["databases"].items()}


def test_both_are_used_and_a_stopped_one_is_said(copy: ProgramCopy) -> None:
    mysql_port, redis_port = copy.ports["mysql"], copy.ports["redis"]
    with databases.mariadb(port=mysql_port), databases.redis(port=redis_port) as redis:
        copy.run("up")
        assert states(copy) == {"mysql": "used", "redis": "used"}
        outputs = json.loads(copy.run("outputs", "--json").stdout)
        assert {name: row["state"] for name, row in outputs["databases"].items()} == {
            "mysql": "reused",
            "redis": "reused",
        }
        copy.run("preview", "--expect-no-changes")
        redis.stop()
        wait_for(lambda: copy.get("identity-service", "/ready")[0] == 503, 5)
        assert states(copy)["redis"] == "unreachable"
        assert copy.get("identity-service", "/health")[0] == 200
        # The next preview sees it too: the check, and who uses it.
        assert set(copy.changes()) == {"redis-check", "identity-service-up", "governance-service-up"}
        copy.run("up")
        assert states(copy) == {"mysql": "used", "redis": "embedded"}
        redis.start()
        copy.run("up")
        assert states(copy) == {"mysql": "used", "redis": "used"}
        copy.run("destroy")


def test_when_missing_fail_insists(copy: ProgramCopy) -> None:
    copy.edit(lambda values: values["databases"]["mysql"].update(when_missing="fail"))
    said = copy.run("up", code=1)
    text = said.stdout + said.stderr
    assert f"mysql on 127.0.0.1:{copy.ports['mysql']} can't be used" in text
    assert "when_missing: fail" in text
    assert "Traceback" not in text
    assert "identity-service" not in copy.pids()


def test_a_refused_login_is_told_from_a_missing_server(copy: ProgramCopy) -> None:
    with databases.redis(port=copy.ports["redis"], password="right"):
        said = copy.run("up").stdout
        assert "redis" in said
        assert "refused:" in said
        assert "its password under secrets.redis (`make encrypt`" in said
        assert states(copy)["redis"] == "embedded"
        copy.run("destroy")


def test_a_password_reaches_the_services_and_nothing_else(copy: ProgramCopy) -> None:  # D6
    password = "correct-horse-battery"
    copy.environment["PULUMI_CONFIG_PASSPHRASE"] = "local-only"
    with databases.redis(port=copy.ports["redis"], password=password):
        copy.set_secret("redis", password)
        up = copy.run("up")
        assert states(copy)["redis"] == "used"
        copy.run("preview", "--expect-no-changes")
        assert password not in up.stdout + up.stderr
        where = [
            path for path in copy.folder.rglob("*") if path.is_file() and not path.is_relative_to(copy.folder / ".venv")
        ]
        holders = [p for p in where if ".uv" not in p.parts and password.encode() in p.read_bytes()]
        assert [p.relative_to(copy.folder).as_posix() for p in holders] == [".local/secrets/redis.env"]
        assert holders[0].stat().st_mode & 0o777 == 0o600
        copy.run("destroy")
