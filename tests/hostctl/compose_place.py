"""A converged server's folder with Docker and compose in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from hostctl.compose_runtime import ComposeRuntime
from hostctl.definitions import parse_host, parse_service
from hostctl.forms import ServiceDefinition
from hostctl.layout import Layout, write_atomic, write_json
from hostctl.runtime import Target
from plan.render import definitions, host_files
from tests.hostctl import samples
from tests.hostctl.fake_docker import FakeCompose, FakeDocker
from tests.plan.stacks import plan_of

IMAGE = "blockchain-dao/stand-in:0.1.0"
FILE = "docker-compose-blockchain-tencent.yml"


class Place:
    """A converged host's folder, with Docker and compose in memory."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(str(root / "blockchain-services"))
        self.layout.make()
        self.docker = FakeDocker()
        self.compose = FakeCompose(self.docker, self.layout.root)
        self.stopped = False  # what somebody who presses Ctrl-C makes true
        self.runtime = ComposeRuntime(self.layout, None, cast(Any, self.docker), lambda: self.stopped)
        cast(Any, self.runtime)._compose = lambda: self.compose
        self.docker.images[IMAGE] = {"Config": {"User": "10001:10001"}}
        self.plan()

    def plan(self, *changes: Any) -> None:
        plan = plan_of("tencent", *changes)
        self.made = definitions(plan)
        self.host = parse_host(samples.raw(self.made["host"]))
        write_json(self.layout.host, {"definition": self.host, "base": "/", "generation": 1, "label": ""})
        write_atomic(self.layout.root / FILE, host_files(plan)[FILE], 0o644)

    def service(self, name: str) -> ServiceDefinition:
        return parse_service(samples.raw(self.made[f"service/{name}"]), name)

    def target(self, name: str) -> Target:
        return Target(name, 3, self.service(name)["digest"])

    def converge(self, *names: str, gone: tuple[str, ...] = (), undone: bool = False) -> dict[str, str]:
        targets = [self.target(name) for name in names]
        unwanted = [Target(name, 3, undone=undone) for name in gone]
        found = self.runtime.converge(targets, unwanted, self.host)
        return {name: outcome.what for name, outcome in found.items()}

    def names(self) -> list[str]:
        return sorted(one["Name"][1:] for one in self.docker.there.values())
