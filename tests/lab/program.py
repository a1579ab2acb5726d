"""A copy of the project whose server is one of the lab's: what a person does on their own machine with a stack."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.lab.host import LabHost
from tests.program_copy import REPOSITORY, ProjectCopy

PASSPHRASE = "lab-only"
ENGINES = ("standalone", "pulumi")


class ServerProgram(ProjectCopy):
    """The project in `folder` with its stack `stack` for `host`, pinned and with an agent that may log in.

    `run`, `changes`, `outputs`, `start`, `set_secret`, `edit` are ProjectCopy's; all of them by standalone unless
    `engine` says `pulumi`.
    """

    deadline = 600.0

    def __init__(self, folder: Path, stack: str, host: LabHost) -> None:
        super().__init__(folder, stack)
        self.host = host
        self.environment = {k: v for k, v in self.environment.items() if not k.startswith("SSH_")}
        uv = REPOSITORY / ".uv" / "tool" / "bin"
        self.environment |= host.agent_env() | {
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "PULUMI_SKIP_UPDATE_CHECK": "1",
            "PATH": f"{uv}{os.pathsep}{self.environment['PATH']}",
        }

    def make(self) -> ServerProgram:
        """Copy the project and lead its stack to the lab's host."""
        self.copy()
        self.reach(self.host.address)
        # The lab has stand-ins only, also where production would refuse them (D13).
        self.edit(lambda values: values.update(allow_stand_in=True))
        return self

    def reach(self, address: str, port: int = 22, host_key: str = "") -> None:
        """Where the stack finds its server: its own address, or `host.gateway` and the port of a proxy."""
        there = {"address": address, "ssh_port": port, "host_key": host_key or self.host.host_key}
        self.edit(lambda values: values["host"].update(there))

    def run(
        self, verb: str, *words: str, code: int | None = 0, engine: str = "standalone", **env: str
    ) -> subprocess.CompletedProcess[str]:
        """One verb (`up`, `preview`, `destroy`, …) on the stack to its end."""
        assert engine in ENGINES, engine
        if engine == "standalone":
            return super().run(verb, *words, code=code, **env)
        if not (self.folder / ".state").exists():
            (self.folder / ".state").mkdir()
            self.pulumi("stack", "select", "--create", self.stack)
        sure = {"up": ["--yes", "--skip-preview", "--continue-on-error"], "destroy": ["--yes", "--skip-preview"]}
        return self.pulumi(verb, "-s", self.stack, *sure.get(verb, []), *words, code=code, **env)

    def pulumi(self, *words: str, code: int | None = 0, **env: str) -> subprocess.CompletedProcess[str]:
        """The real CLI, where it is on PATH (`shutil.which("pulumi")`)."""
        return self.call(["pulumi", "--non-interactive", *words], code=code, **env)

    def measured(self, verb: str, *words: str, **more: Any) -> tuple[subprocess.CompletedProcess[str], int]:
        """The same as `run`, and how many SSH connections the server had meanwhile."""
        before = self.host.ssh_connections()
        done = self.run(verb, *words, **more)
        return done, self.host.ssh_connections() - before

    def state_text(self) -> str:
        """Everything that the engines keep in files: for a search of secrets."""
        found: list[str] = []
        for folder in (".standalone", ".state"):
            files = (path for path in (self.folder / folder).rglob("*") if path.is_file())
            found += [path.read_text(errors="replace") for path in files]
        return "\n".join(found)

    def resources(self) -> dict[str, dict[str, Any]]:
        """Name -> resource in standalone's state."""
        state = json.loads((self.folder / ".standalone" / f"{self.stack}.json").read_text())
        return {one["urn"].rsplit("::", 1)[1]: one for one in state["deployment"].get("resources", [])}


def has_cli() -> bool:
    """Whether the real CLI can drive a stack here."""
    return shutil.which("pulumi") is not None
