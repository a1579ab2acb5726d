"""Drives `python -m standalone` on copies of the small programs beside this file."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
DEADLINE = 60


def until(what: Callable[[], Any], seconds: float = 20) -> Any:
    """Wait for something to become true; fail when it doesn't in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.01)
    pytest.fail(f"it did not happen within {seconds} s")


class Project:
    """A copy of a program, and runs on it."""

    def __init__(self, folder: Path, stack: str = "dev") -> None:
        self.folder, self.stack = folder, stack
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("PULUMI")} | {"PYTHONPATH": str(ROOT)}

    # -- what it says -------------------------------------------------------------------------------------------------

    def spec(self, *resources: dict[str, Any], exports: tuple[str, ...] = ()) -> None:
        """What the `spec` program registers from now on."""
        document = {"resources": list(resources), "exports": list(exports)}
        (self.folder / "spec.json").write_text(json.dumps(document))

    def program(self, text: str) -> None:
        """Another program."""
        (self.folder / "__main__.py").write_text(text)

    # -- running ------------------------------------------------------------------------------------------------------

    def command(self, verb: str, *args: str) -> list[str]:
        return [sys.executable, "-m", "standalone", verb, "--stack", self.stack, *args]

    def run(
        self, verb: str, *args: str, code: int | None = 0, stdin: str = "", **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end; `code` is the exit code that is expected."""
        done = subprocess.run(
            self.command(verb, *args),
            cwd=self.folder,
            env=self.env | env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        if code is not None:
            assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, verb: str, *args: str) -> subprocess.Popen[str]:
        """Begin a verb."""
        return subprocess.Popen(
            self.command(verb, *args),
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def changes(self, verb: str = "preview", *args: str, **env: str) -> dict[str, str]:
        """What a preview (or an `up`) says of each resource."""
        data = json.loads(self.run(verb, "--json", *args, **env).stdout)
        return {r["name"]: r["op"] if r["status"] in ("planned", "done") else r["status"] for r in data["resources"]}

    # -- what came of it ----------------------------------------------------------------------------------------------

    def log(self) -> list[str]:
        """The lines that the commands wrote."""
        path = self.folder / "log"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def state_path(self) -> Path:
        return self.folder / ".standalone" / f"{self.stack}.json"

    def deployment(self) -> dict[str, Any]:
        """The state as it is on disk."""
        return json.loads(self.state_path.read_text())["deployment"]

    def resources(self) -> dict[str, dict[str, Any]]:
        """The resources in the state, by name (the engine's own left out)."""
        found = self.deployment().get("resources", [])
        return {r["urn"].rsplit("::", 1)[1]: r for r in found if not r["type"].startswith("pulumi:")}


def command(name: str, **more: Any) -> dict[str, Any]:
    """A command for a spec that writes to the log what it does."""
    args = {
        "create": f"echo create {name} >> log; echo {name} made",
        "update": f"echo update {name} >> log; echo {name} updated",
        "delete": f"echo delete {name} >> log",
        "add_previous_output_in_env": False,
    }
    args.update(more.pop("args", {}))
    args = {key: value for key, value in args.items() if value is not None}
    return {"name": name, "args": args, **more}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The `spec` program."""
    shutil.copytree(PROGRAMS / "spec", tmp_path / "spec")
    return Project(tmp_path / "spec")


@pytest.fixture
def basic(tmp_path: Path) -> Project:
    """The `basic` program: components, dependencies, outputs."""
    shutil.copytree(PROGRAMS / "basic", tmp_path / "basic")
    return Project(tmp_path / "basic")


def stop(process: subprocess.Popen[str], how: int = signal.SIGKILL) -> None:
    """End a process that may have ended already."""
    if process.poll() is None:
        process.send_signal(how)
