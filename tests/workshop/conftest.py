"""A small project of its own for each test: the real tools, and stand-ins of the programs that they run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

REAL = Path(__file__).resolve().parents[2]

PULUMI_YAML = """\
name: blockchain-dao
runtime:
  name: python
  options: {toolchain: uv, virtualenv: .venv}
backend:
  url: file://./.state
"""
FAKE_PULUMI = """\
#!{python}
import json, os, pathlib, sys
arguments = sys.argv[1:]
if arguments == ["version"]:
    print("v3.300.0")
    sys.exit(0)
seen = {{"argv": arguments, "cwd": os.getcwd()}}
for name in ("CONFIG_PASSPHRASE", "CONFIG_PASSPHRASE_FILE", "BACKEND_URL", "CREDENTIALS_PATH"):
    seen["PULUMI_" + name] = os.environ.get("PULUMI_" + name)
if "--config-file" in arguments:
    seen["config"] = pathlib.Path(arguments[arguments.index("--config-file") + 1]).read_text()
with open({record!r}, "a") as record:
    record.write(json.dumps(seen) + "\\n")
if arguments[:2] == ["stack", "output"]:
    print('{{"mode": "development"}}')
sys.exit(int(os.environ.get("FAKE_EXIT", "0")))
"""
FAKE_STANDALONE = """\
import json, os, sys
if sys.argv[1] == "owner":
    print(os.environ.get("FAKE_OWNER", "none"))
    sys.exit(0)
with open({record!r}, "a") as record:
    names = ("PULUMI_CONFIG_PASSPHRASE", "PATH")
    seen = {{"argv": sys.argv[1:], **{{name: os.environ.get(name) for name in names}}}}
    record.write(json.dumps(seen) + "\\n")
sys.exit(int(os.environ.get("FAKE_EXIT", "0")))
"""


@dataclass
class Project:
    """A folder that looks like the project, and the environment that its tools run in."""

    folder: Path
    programs: Path
    env: dict[str, str] = field(default_factory=dict[str, str])

    def program(self, name: str, text: str) -> Path:
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def with_pulumi(self) -> Path:
        return self.program("pulumi", FAKE_PULUMI.format(python=sys.executable, record=str(self.folder / "pulumi.log")))

    def calls(self, name: str) -> list[dict[str, Any]]:
        """What a stand-in was called with, call by call."""
        log = self.folder / f"{name}.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def run(
        self, *command: str, stdin: str = "", cwd: Path | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=cwd or self.folder,
            env={**self.env, **env},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def engine(self, verb: str, stack: str = "local", **env: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "tools/engine.py", verb, STACK=stack, **env)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    folder = tmp_path / "a project"  # a space, since people have them
    programs = tmp_path / "bin"
    programs.mkdir()
    folder.mkdir()
    for name in ("tools", "scripts"):
        shutil.copytree(REAL / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "env.sh", "pyproject.toml", "uv.lock"):
        shutil.copy(REAL / name, folder / name)
    (folder / "Pulumi.yaml").write_text(PULUMI_YAML)
    for stack in ("local", "tencent"):
        (folder / f"Pulumi.{stack}.yaml").write_text("# kept\nconfig:\n  blockchain-dao:mode: development # kept\n")
    # What the tools import of it is real; only running it is not.
    shutil.copytree(REAL / "standalone", folder / "standalone", ignore=shutil.ignore_patterns("__pycache__"))
    fake = FAKE_STANDALONE.format(record=str(folder / "standalone.log"))
    (folder / "standalone" / "__main__.py").write_text(fake)
    made = Project(folder, programs, {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(tmp_path)})
    made.program("uv", '#!/bin/sh\n[ "$1" != --version ] || echo "uv 99.0.0"\n')
    if "LD_LIBRARY_PATH" in os.environ:
        made.env["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return made


@pytest.fixture
def installed(project: Project) -> Project:
    """A project whose install is done: its Python is the one of this test run."""
    (project.folder / ".venv" / "bin").mkdir(parents=True)
    (project.folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    project.run("tools/bootstrap.sh", "dev")
    return project


@pytest.fixture
def real(project: Project) -> Project:
    """The real rooms and stack files beside the tools."""
    shutil.rmtree(project.folder / "standalone")
    for name in ("plan", "hostctl", "standalone", "components", ".venv"):
        (project.folder / name).symlink_to(REAL / name)
    for path in REAL.glob("Pulumi*.yaml"):
        shutil.copy(path, project.folder / path.name)
    return project
