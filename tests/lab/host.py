"""One simulated server, as a test drives it."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.lab import images
from tests.lab.faults import Faults
from tests.lab.keys import WRONG, Keys
from tests.lab.kinds import ADMINS
from tests.lab.machine import LabError, call, docker, docker_words

READY_SECONDS = 90.0
FOREIGN = "their-app"
FOREIGN_LABEL = "lab.foreign"
ROOT = "/opt/blockchain-services"
RESET = ("python3", "/usr/local/lib/lab/reset.py")


@dataclass(frozen=True)
class Container:
    """What the server's own Docker says about one container."""

    name: str
    id: str
    image: str
    state: str
    health: str
    started_at: str
    labels: dict[str, str] = field(repr=False)
    raw: dict[str, Any] = field(repr=False)

    @property
    def same(self) -> tuple[str, str]:
        """Equal as long as nobody restarted or recreated it."""
        return self.id, self.started_at


class LabHost(Faults):
    """A server that `Lab.new_host` started: `address` port 22 by SSH, `run` without SSH."""

    user = "root"
    ssh_port = 22

    def __init__(self, container: str, kind: str, address: str, gateway: str, keys: Keys) -> None:
        self.container, self.kind, self.address, self.gateway, self.keys = container, kind, address, gateway, keys
        #: Where an SSH client of this machine may also go: `address` port 22 published here.
        self.local_port = 0
        self.host_key = ""
        self.admins = dict(ADMINS)

    # --- talking to it ---

    def run(
        self, command: str | list[str], *, stdin: str | None = None, timeout: float = 60, code: int | None = 0
    ) -> str:
        """A command on the server, not by SSH (it counts as no connection); its stdout.

        A string goes through sh; `code` is the exit code that is expected (None: any).
        """
        done = self.call(command, stdin=stdin, timeout=timeout)
        if code is not None and done.returncode != code:
            raise LabError(f"{self.kind}: {command!r}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def call(
        self, command: str | list[str], *, stdin: str | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """The same with exit code, stdout and stderr."""
        words = ["sh", "-c", command] if isinstance(command, str) else command
        return call(docker_words("exec", "-i", self.container, *words), stdin=stdin or "", timeout=timeout)

    def ssh(
        self, command: str, *, stdin: str | None = None, timeout: float = 60, code: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        """A command as somebody would type it over SSH; it trusts the server's key only."""
        known = self.keys.folder / f"{self.container}.known"
        known.write_text(f"lab {self.host_key}\n")
        options = ["BatchMode=yes", "IdentitiesOnly=yes", "HostKeyAlias=lab", f"UserKnownHostsFile={known}"]
        words = ["ssh", "-F", "none", "-T", "-i", str(self.keys.path), "-p", str(self.ssh_port)]
        for option in [*options, "StrictHostKeyChecking=yes", "ConnectTimeout=10", "LogLevel=ERROR"]:
            words += ["-o", option]
        done = call([*words, f"{self.user}@{self.address}", command], stdin=stdin or "", timeout=timeout)
        if code is not None and done.returncode != code:
            raise LabError(f"{self.kind} by ssh: {command!r}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def ssh_connections(self) -> int:
        """How many logins sshd has accepted since the server's first boot."""
        return int(self.run("grep -c '^Accepted ' /var/log/sshd.log || :"))

    def agent_env(self, wrong: bool = False) -> dict[str, str]:
        """What a program needs to log in: an agent with the right key, or with one that no host knows."""
        return {"SSH_AUTH_SOCK": self.keys.agent(WRONG) if wrong else self.keys.agent()}

    def put(self, path: str, text: str, mode: str = "0644") -> None:
        """A file on the server, its folder made."""
        there = shlex.quote(path)
        self.run(f'mkdir -p "$(dirname {there})" && cat > {there} && chmod {mode} {there}', stdin=text)

    # --- what is there ---

    def containers(self) -> dict[str, Container]:
        """Everything its Docker has, also what doesn't run: name -> container."""
        found = self.run('ids=$(docker ps -aq --no-trunc) && [ -z "$ids" ] || docker inspect $ids')
        return {one.name: one for one in map(_container, json.loads(found or "[]"))}

    def ours(self) -> dict[str, Container]:
        """The containers that aren't somebody else's."""
        return {name: one for name, one in self.containers().items() if FOREIGN_LABEL not in one.labels}

    def files(self, root: str = ROOT) -> dict[str, str]:
        """Path below `root` -> mode, owner and digest (files) or target (links) of everything there."""
        script = (
            f"cd {shlex.quote(root)} 2>/dev/null || exit 0;"
            " find . -mindepth 1 -printf '%P\\t%y %m %u:%g %l\\n' | sort;"
            " find . -type f -print0 | xargs -0r sha256sum"
        )
        found: dict[str, str] = {}
        for line in self.run(script).splitlines():
            path, tab, about = line.partition("\t")
            if tab:
                found[path] = about.strip()
            else:
                digest, _, name = line.partition("  ./")
                found[name] += f" {digest[:16]}"
        return found

    def read(self, path: str) -> str:
        """A file's text."""
        return self.run(["cat", path])

    # --- images ---

    def load_image(self, name: str) -> None:
        """Copy an image of this machine to the server; nothing when the server has it."""
        ident = docker("image", "inspect", "-f", "{{.Id}}", name).strip()
        if self.call(["docker", "image", "inspect", "-f", "{{.Id}}", name]).stdout.strip() == ident:
            return
        with subprocess.Popen(docker_words("save", name), stdout=subprocess.PIPE) as save:
            load = docker_words("exec", "-i", self.container, "docker", "load", "-q")
            done = subprocess.run(load, stdin=save.stdout, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode or save.returncode:
            raise LabError(f"{name} can't be loaded on {self.kind}: {done.stderr}")

    def place_foreign(self) -> None:
        """Somebody else's container, running; nothing when it is there already."""
        if self.kind == "bare":
            return
        state = self.call(["docker", "inspect", "-f", "{{.State.Running}}", FOREIGN])
        if state.stdout.strip() == "true":
            return
        self.call(["docker", "rm", "-f", FOREIGN])
        image = images.tiny()
        self.load_image(image)
        self.run(
            [
                "docker",
                "run",
                "-d",
                "--name",
                FOREIGN,
                "--restart",
                "always",
                "--label",
                f"{FOREIGN_LABEL}=1",
                "-v",
                "their-data:/data",
                image,
            ]
        )

    # --- its life ---

    def wait_ready(self) -> None:
        """Until it has booted and all its services answer. Raises LabError with its last words."""
        deadline = time.monotonic() + READY_SECONDS
        while call(docker_words("exec", self.container, "test", "-e", "/run/lab/booted")).returncode:
            state = docker("inspect", "-f", "{{.State.Running}}", self.container).strip()
            if state != "true" or time.monotonic() > deadline:
                said = call(docker_words("logs", "--tail", "15", self.container))
                raise LabError(f"{self.kind} doesn't boot:\n{said.stdout}{said.stderr}")
            time.sleep(0.1)
        self.host_key = " ".join(self.read("/etc/ssh/ssh_host_ed25519_key.pub").split()[:2])

    def reset(self, images: bool = False) -> None:
        """As after its first boot: nothing of ours, all its services up, the foreign container untouched.

        With `images` the images that were loaded go too, except the foreign container's.
        """
        self.lift()
        if call(docker_words("exec", self.container, "test", "-e", "/run/lab/booted")).returncode:
            docker("start", self.container)
            self.wait_ready()
        self.run([*RESET, *(["images"] if images else [])], timeout=90)
        self.place_foreign()

    def reboot(self, hard: bool = False) -> None:
        """Switch it off and on again and wait until SSH answers; `hard`: by its plug."""
        docker("kill", self.container) if hard else docker("stop", "--time", "40", self.container)
        docker("start", self.container)
        self.wait_ready()
        self.wait_for(lambda: self.ssh("true", code=None).returncode == 0, "sshd answers")

    def start_service(self, name: str) -> None:
        """Start one of its own services (`mysql`, `consul`, `docker`, `ssh`, …) and wait until it answers."""
        self.run(["systemctl", "start", name], timeout=90)

    def stop_service(self, name: str) -> None:
        """Stop one of its own services; `reset` starts it again."""
        self.run(["systemctl", "stop", name], timeout=90)

    @staticmethod
    def wait_for(what: Callable[[], Any], why: str = "it happens", seconds: float = READY_SECONDS) -> Any:
        """Poll until `what` gives something true; that something."""
        end = time.monotonic() + seconds
        while not (found := what()):
            if time.monotonic() > end:
                raise LabError(f"waited {seconds:.0f} s until {why}")
            time.sleep(0.1)
        return found


def _container(raw: dict[str, Any]) -> Container:
    state = raw["State"]
    return Container(
        name=raw["Name"].lstrip("/"),
        id=raw["Id"],
        image=raw["Config"]["Image"],
        state=state["Status"],
        health=state.get("Health", {}).get("Status", ""),
        started_at=state["StartedAt"],
        labels=raw["Config"]["Labels"] or {},
        raw=raw,
    )
