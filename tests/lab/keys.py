"""Whose keys log in to the lab: one key that every host knows, one that none knows, an ssh-agent with each."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from tests.lab.machine import LabError, call

KEY, WRONG = "key", "wrong-key"


class Keys:
    """Keys in `folder`, made once; agents as long as `close` isn't called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._agents: dict[str, subprocess.Popen[bytes]] = {}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (KEY, WRONG):
            if not (folder / name).exists():
                done = call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(folder / name)])
                if done.returncode:
                    raise LabError(f"ssh-keygen: {done.stderr}")

    @property
    def path(self) -> Path:
        """The private key that logs in."""
        return self.folder / KEY

    @property
    def public(self) -> str:
        """Its public half, one line."""
        return (self.folder / f"{KEY}.pub").read_text().strip()

    def agent(self, name: str = KEY) -> str:
        """The socket of an agent that holds this key only; started when it is first asked for."""
        socket = self.folder / f"{name}.agent"
        if name not in self._agents:
            socket.unlink(missing_ok=True)
            words = ["ssh-agent", "-D", "-a", str(socket)]
            self._agents[name] = subprocess.Popen(words, stdout=subprocess.DEVNULL)
            self._add(socket, name)
        return str(socket)

    def _add(self, socket: Path, name: str) -> None:
        deadline = time.monotonic() + 20
        while True:
            words = ["env", f"SSH_AUTH_SOCK={socket}", "ssh-add", "-q", str(self.folder / name)]
            done = call(words)
            if done.returncode == 0:
                return
            if time.monotonic() > deadline:
                raise LabError(f"ssh-add: {done.stderr}")
            time.sleep(0.02)

    def close(self) -> None:
        """End the agents."""
        for agent in self._agents.values():
            agent.terminate()
            agent.wait(10)
        self._agents.clear()
