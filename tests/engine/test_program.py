"""The same program under the real Pulumi CLI, and that both engines leave a host the same (design)."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program_copy import REPOSITORY, SERVICES, ProgramCopy, program_copy

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("pulumi") is None, reason="no `pulumi` on PATH"),
]

UV = REPOSITORY / ".uv" / "tool" / "bin"


@pytest.fixture
def copy() -> Iterator[ProgramCopy]:
    # A short path: supervisorctl can't reach a socket behind a long one (hostctl can).
    with tempfile.TemporaryDirectory() as folder, program_copy(Path(folder) / "clone") as made:
        made.environment |= {
            "PATH": f"{UV}{os.pathsep}{made.environment['PATH']}",
            "PULUMI_CONFIG_PASSPHRASE": "local-only",
            "PULUMI_SKIP_UPDATE_CHECK": "1",
        }
        (made.folder / ".state").mkdir()
        yield made


def pulumi(copy: ProgramCopy, *words: str, code: int | None = 0) -> str:
    done = copy.call(["pulumi", "--non-interactive", *words], code=code)
    return done.stdout + done.stderr


def left_on_the_host(copy: ProgramCopy) -> dict[str, str]:
    """Every rendered file, by name."""
    root = copy.folder / ".local"
    return {name: (root / name).read_text() for name in ("supervisord.conf", "blockchain-local.env")}


def test_up_unchanged_preview_destroy(copy: ProgramCopy) -> None:  # P1, P9
    pulumi(copy, "stack", "select", "--create", "local")
    stack_file = (copy.folder / "Pulumi.local.yaml").read_text()
    assert "19 created" not in pulumi(copy, "up", "-s", "local", "--yes")  # 20 with the stack's own
    for name in SERVICES:
        assert copy.get(name, "/health")[0] == 200, name
    before = copy.pids()
    assert "20 unchanged" in pulumi(copy, "up", "-s", "local", "--yes")
    assert copy.pids() == before
    pulumi(copy, "preview", "-s", "local", "--expect-no-changes")
    outputs = json.loads(copy.call(["pulumi", "stack", "output", "-s", "local", "--json"]).stdout)
    assert outputs["endpoints"]["identity-service"] == f"http://127.0.0.1:{copy.ports['identity-service']}"
    assert (copy.folder / "Pulumi.local.yaml").read_text() == stack_file
    by_cli = left_on_the_host(copy)
    pulumi(copy, "destroy", "-s", "local", "--yes")
    assert copy.listeners() == []
    pulumi(copy, "stack", "rm", "local", "--yes", "--preserve-config")
    copy.run("up")
    assert left_on_the_host(copy) == by_cli
    copy.run("destroy")


def test_drift_and_its_repair(copy: ProgramCopy) -> None:
    pulumi(copy, "stack", "select", "--create", "local")
    pulumi(copy, "up", "-s", "local", "--yes", "--skip-preview")
    copy.call([".venv/bin/supervisorctl", "-c", ".local/supervisord.conf", "stop", "blockchain-monitor"])
    shown = pulumi(copy, "preview", "-s", "local", "--diff")
    assert "1 to update" in shown
    assert "not running" in shown
    pulumi(copy, "up", "-s", "local", "--yes", "--skip-preview")
    pulumi(copy, "preview", "-s", "local", "--expect-no-changes")
    pulumi(copy, "destroy", "-s", "local", "--yes")


def test_a_crash_names_the_service_and_the_one_before_serves(copy: ProgramCopy) -> None:  # P11
    pulumi(copy, "stack", "select", "--create", "local")
    pulumi(copy, "up", "-s", "local", "--yes", "--skip-preview")
    crash = ["python", "-c", "import sys; print('boom: no such table'); sys.exit(3)"]
    copy.edit(lambda values: values["services"]["identity-service"].update(command=crash))
    failed = pulumi(copy, "up", "-s", "local", "--yes", "--skip-preview", "--continue-on-error", code=1)
    assert "identity-service" in failed
    assert "boom: no such table" in failed
    assert copy.get("identity-service", "/health")[0] == 200
    pulumi(copy, "destroy", "-s", "local", "--yes")


def test_an_invalid_stack_is_a_list_without_a_traceback(copy: ProgramCopy) -> None:
    copy.edit(lambda values: values["services"]["identity-service"].update(port=9555))
    pulumi(copy, "stack", "select", "--create", "local")
    shown = pulumi(copy, "preview", "-s", "local", code=1)
    assert "Pulumi.local.yaml has 1 problem; nothing was touched" in shown
    assert "9555 is reserved for the DAO services" in shown
    assert "Traceback" not in shown
