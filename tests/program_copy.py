"""A copy of this project in a folder of its own, on free ports, that a test may converge and break.

Nothing of it touches the environment that a developer has running from the real folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.ports import free_ports

REPOSITORY = Path(__file__).resolve().parents[1]
PREFIX = "blockchain-dao:"
DEADLINE = 120.0
SERVICES = (
    "blockchain-service",
    "identity-service",
    "governance-service",
    "crosschain-service",
    "blockchain-config",
    "blockchain-monitor",
)


def wait_for(what: Callable[[], Any], seconds: float = DEADLINE) -> Any:
    """Poll until `what` gives something true; that something."""
    end = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < end, "it didn't happen in time"
        time.sleep(0.1)


class ProjectCopy:
    """The project in `folder`, and one of its stacks, which the verbs are for."""

    deadline = DEADLINE

    def __init__(self, folder: Path, stack: str) -> None:
        self.folder, self.stack = folder, stack
        self.environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("PULUMI_CONFIG", "STACK", "ENGINE"))
        }

    def copy(self) -> None:
        """Copy what git knows or would know; the installed environments are shared, never changed."""
        listed = subprocess.run(
            ["git", "ls-files", "-coz", "--exclude-standard"], cwd=REPOSITORY, capture_output=True, check=True
        )
        for name in filter(None, listed.stdout.decode().split("\0")):
            if name.startswith(("tests/", ".github/")) or not (REPOSITORY / name).is_file():
                continue
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target)
        (self.folder / ".venv").symlink_to(REPOSITORY / ".venv")
        if (REPOSITORY / ".uv").exists():
            (self.folder / ".uv").symlink_to(REPOSITORY / ".uv")

    def edit(self, change: Callable[[dict[str, Any]], None], stack: str = "") -> None:
        """Change the stack file's values, keys without the namespace."""
        file = self.folder / f"Pulumi.{stack or self.stack}.yaml"
        content = yaml.safe_load(file.read_text())
        values = {key.removeprefix(PREFIX): value for key, value in content["config"].items()}
        change(values)
        content["config"] = {PREFIX + key: value for key, value in values.items()}
        file.write_text(yaml.safe_dump(content, sort_keys=False))

    def run(self, verb: str, *words: str, code: int | None = 0, **env: str) -> subprocess.CompletedProcess[str]:
        """One verb of standalone on the stack to its end; `code` is the exit code that is expected (None: any)."""
        words = words if "--stack" in words else ("--stack", self.stack, *words)
        return self.call([".venv/bin/python", "-m", "standalone", verb, *words], code=code, **env)

    def call(self, command: list[str], *, code: int | None = 0, **env: str) -> subprocess.CompletedProcess[str]:
        """Any command in the copy's folder."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=self.deadline,
            check=False,
        )
        assert code is None or done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def set_secret(self, name: str, value: str) -> None:
        """Put a secret into the stack file, encrypted by standalone."""
        command = [".venv/bin/python", "-m", "standalone", "encrypt", "--stack", self.stack]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, input=value, capture_output=True, text=True, check=True
        )
        secure = yaml.safe_load(done.stdout)
        self.edit(lambda values: values.setdefault("secrets", {}).update({name: secure}))

    def start(self, *words: str, **env: str) -> subprocess.Popen[str]:
        """A verb of standalone on the stack that the test ends itself."""
        return subprocess.Popen(
            [".venv/bin/python", "-m", "standalone", *words, "--stack", self.stack],
            cwd=self.folder,
            env=self.environment | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def changes(self, verb: str = "preview", code: int = 0) -> dict[str, str]:
        """Resource -> what a verb did or would do with it, without what stays."""
        said = json.loads(self.run(verb, "--json", code=code).stdout)
        return {one["name"]: one["op"] for one in said["resources"] if one["op"] != "unchanged"}

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs."""
        return json.loads(self.run("outputs", "--json").stdout)


class ProgramCopy(ProjectCopy):
    """The project in `folder`, with its `local` stack on free ports."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "local")
        self.ports = dict(zip((*SERVICES, "mysql", "redis"), free_ports(2 * len(SERVICES) + 4)[1::2], strict=True))

    def make(self) -> ProgramCopy:
        """Copy the project and move it to ports of its own."""
        self.copy()
        self.edit(self._move_to_free_ports)
        return self

    def hostctl(self, *words: str, code: int | None = 0) -> str:
        return self.call([".local/bin/hostctl", *words], code=code).stdout

    def status(self) -> dict[str, dict[str, Any]]:
        """Service -> state, pid, ports, healthy; empty when nothing converged."""
        if not (self.folder / ".local/bin/hostctl").exists():
            return {}
        return json.loads(self.hostctl("status", "--json", code=None))["services"]

    def pids(self) -> dict[str, int]:
        return {name: row["pid"] for name, row in self.status().items()}

    def get(self, service: str, path: str) -> tuple[int, Any]:
        """Status and JSON (or text) of a service's answer; (0, reason) when it doesn't answer."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self.ports[service]}{path}", timeout=5) as answer:
                code, kind, body = answer.status, answer.headers.get("content-type", ""), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                code, kind, body = error.code, error.headers.get("content-type", ""), error.read()
        except OSError as error:
            return 0, repr(error)
        return code, json.loads(body) if "json" in kind else body.decode()

    def listeners(self) -> list[int]:
        """Which of the copy's service ports are held now."""
        held: list[int] = []
        for name in SERVICES:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.ports[name])) == 0:
                    held.append(self.ports[name])
        return held

    def processes(self) -> list[int]:
        """Every process that was started from this copy's folder."""
        # In a locale that shows the folder's name as it is.
        env = {**os.environ, "LC_ALL": "C.UTF-8"}
        ps = ["ps", "-axwwo", "pid=,command="]
        found = subprocess.run(ps, env=env, capture_output=True, text=True, check=True).stdout
        here = re.escape(str(self.folder))
        return [int(line.split()[0]) for line in found.splitlines() if re.search(rf"{here}(/|\s|$)", line)]

    def clean_up(self) -> None:
        """Whatever is left is ended: no test may leave a process behind."""
        for _ in range(3):
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.2)

    def _move_to_free_ports(self, values: dict[str, Any]) -> None:
        values["range"] = "1024-65535"
        values["host"] |= {"cpus": 8, "memory": "64GB"}
        for name, entry in values["services"].items():
            entry["port"] = self.ports[name]
        for name, entry in values["databases"].items():
            entry["port"] = self.ports[name]


@contextlib.contextmanager
def program_copy(folder: Path) -> Iterator[ProgramCopy]:
    """A copy in `folder`, cleaned up at the end."""
    copy = ProgramCopy(folder).make()
    try:
        yield copy
    finally:
        copy.clean_up()
