"""Stacks of the lab's servers, as the acceptance tests use them: pinned, with the databases' passwords, converged."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from hostctl.compose_files import SERVICE
from plan.catalog import EDGE
from plan.load import load_plan
from plan.models import EnvironmentPlan
from plan.semantic import SECRET
from tests.lab.host import Container, LabHost
from tests.lab.kinds import ADMINS
from tests.lab.program import ServerProgram
from tests.program_copy import PREFIX

ROOT = "/opt/blockchain-services"
HOSTCTL = f"{ROOT}/bin/hostctl"
CA = Path("/etc/ssl/certs/ca-certificates.crt")
COUNT = {"tencent": 16, "alibaba": 12}
"""Services of ours on each: tencent's twelve and an edition's four, alibaba's eight and the DAO's four."""
SEALED: dict[str, tuple[str, dict[str, Any]]] = {}
"""Stack -> its salt, and the passwords under it."""
SIX = ("identity-service", "governance-service", "blockchain-service", "crosschain-service", "blockchain-gateway",
       "blockchain-audit")  # fmt: skip
"""Of tencent's twelve: all that need another one, a database or a chain, the public one, and one that needs nothing."""


class Server:
    """A stack and its server."""

    def __init__(self, folder: Path, stack: str, host: LabHost) -> None:
        self.stack, self.host = stack, host
        self.program = ServerProgram(folder, stack, host).make()
        if CA.exists():  # behind a proxy with certificates of its own
            shutil.copy(CA, folder / "image" / "company-ca.crt")
        self.edit(lambda values: values.update(images={"stand_in": "push", "build": {"network": "host"}}))
        if stack == "alibaba":
            real = {"huawei": {"endpoint": "https://bcs.example:8080", "chain_id": "bcs-production"}}
            self.edit(lambda values: values.update(chain_settings=real))
        self._give_passwords()

    def _give_passwords(self) -> None:
        """The databases' own, encrypted once for all copies of a stack: each costs a program's start."""
        file = self.program.folder / f"Pulumi.{self.stack}.yaml"
        if self.stack not in SEALED:
            for name in ADMINS:
                if name in self.values()["databases"]:
                    self.program.set_secret(name, ADMINS[name][1])
            SEALED[self.stack] = yaml.safe_load(file.read_text())["encryptionsalt"], self.values()["secrets"]
            return
        salt, secrets = SEALED[self.stack]
        self.edit(lambda values: values.update(secrets=dict(secrets)))
        file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"encryptionsalt": salt}, sort_keys=False))

    def edit(self, change: Any) -> None:
        self.program.edit(change)

    def values(self) -> dict[str, Any]:
        content = yaml.safe_load((self.program.folder / f"Pulumi.{self.stack}.yaml").read_text())
        return {key.removeprefix(PREFIX): value for key, value in content["config"].items()}

    def plan(self) -> EnvironmentPlan:
        """The plan of the stack file as it is now, with the images that belong to their sources."""
        from imagetool.sources import edge_image, stand_in_image

        values = self.values()
        values["secrets"] = dict.fromkeys(values["secrets"], SECRET)
        images = stand_in_image(self.program.folder / "image"), edge_image(self.program.folder / "edge")
        return load_plan(self.stack, values, ["secrets"], stand_in_image=images[0], edge_image=images[1])

    def set(self, service: str, **settings: Any) -> None:
        """Change one service's entry in the stack file."""
        self.edit(lambda values: values["services"][service].update(settings))

    def shorten(self, *, edition: bool = False) -> Server:
        """Six of tencent's twelve, with `edition` its four too, and no waiting for its own sake.

        For tests of what one service shows as well as sixteen: most of a test's time is that of its services' starts.
        """
        self.edit(lambda values: values.update(services={name: values["services"][name] for name in SIX}))
        if not edition:
            self.edit(lambda values: values.pop("edition"))
        return self.hurry()

    def hurry(self) -> Server:
        """Nobody waits: a new version settles at once, and a service starts as fast as this machine can."""
        self.edit(lambda values: values["defaults"].update(settle=0.2, cpus=0.5))
        self.edit(lambda values: values["host"].update(cpus=16))
        return self

    def up(self, code: int | None = 0, engine: str = "standalone") -> str:
        """`up`; everything that it said."""
        done = self.program.run("up", code=code, engine=engine)
        return done.stdout + done.stderr

    def ours(self) -> dict[str, Container]:
        """Our services' containers by service; the edge is none of them."""
        return {name: one for name, one in self.everything().items() if name != EDGE}

    def everything(self) -> dict[str, Container]:
        """All containers of ours, the edge too."""
        return {one.labels[SERVICE]: one for one in self.host.containers().values() if SERVICE in one.labels}

    def same(self) -> dict[str, tuple[str, str]]:
        """What changes when a container of ours is recreated or restarted."""
        return {name: one.same for name, one in self.everything().items()}

    def foreign(self) -> dict[str, tuple[str, str]]:
        """The same of everybody else's."""
        return {name: one.same for name, one in self.host.containers().items() if SERVICE not in one.labels}

    def health(self, names: Iterable[str] | None = None, path: str = "health") -> dict[str, int]:
        """Service -> the HTTP status of its documented port, asked on the host."""
        ports = {service.name: service.port for service in self.plan().running}
        wanted = list(ports if names is None else names)
        words = " ".join(f"-o /dev/null http://127.0.0.1:{ports[name]}/{path}" for name in wanted)
        said = self.host.run(f"curl -s -m 5 {words} -w '%{{http_code}}\\n'", code=None)
        return dict(zip(wanted, map(int, said.split()), strict=True))

    def all_healthy(self) -> bool:
        found = self.health()
        return set(found) == set(self.ours()) and set(found.values()) == {200}

    def type_it(self) -> str:
        """The documented command, by hand over SSH (P7)."""
        typed = f"cd {ROOT} && docker-compose -f docker-compose-blockchain-{self.stack}.yml up -d"
        done = self.host.ssh(typed, timeout=120)
        return done.stdout + done.stderr

    def unchanged(self) -> bool:
        """Whether an `up` now changes nothing, costs one connection (observing), and a preview shows nothing."""
        done, connections = self.program.measured("up")
        assert connections == 1, done.stdout
        return self.program.changes("preview") == {} and " unchanged" in done.stdout

    def audit(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.host.read(f"{ROOT}/state/audit.log").splitlines()]


def broken_image(host: LabHost, tag: str, command: str) -> str:
    """An image of its own on the host whose container does something else than to serve."""
    base = next(image for image in host.run("docker images --format '{{.Repository}}:{{.Tag}}'").split()
                if image.startswith("blockchain-dao/stand-in:"))  # fmt: skip
    recipe = f"FROM {base}\nCMD {json.dumps(['sh', '-c', command])}\n"
    host.run(f"docker build -q -t {tag} -", stdin=recipe)
    return tag


def quiet(command: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **more)
