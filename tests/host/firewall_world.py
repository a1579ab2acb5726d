"""A host with ports to close, somebody outside of it who knocks, and hostctl at work there (for the tests of D11)."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hostctl import pack
from tests.host import namespaces
from tests.host.namespaces import BOX, FAR, FAR6, GATEWAY, HOST, HOST6, NEAR, NEAR6, Machine, World
from tests.workshop.conftest import REAL

RUN = Path(__file__).with_name("firewall_run.py")
SHIMS = Path(__file__).with_name("shims")
SSH = 22
BACKENDS = ("nft", "legacy")
TOOLS = ("iptables", "ip6tables", "iptables-save", "iptables-restore", "ip6tables-save", "ip6tables-restore")
EVERYBODY = ["0.0.0.0/0", "::/0"]
PORTS = [
    {"port": 3306, "owner": "mysql", "open_to": [f"{NEAR}/32", f"{NEAR6}/128"]},
    {"port": 6379, "owner": "redis", "open_to": []},
    {"port": 8401, "owner": "blockchain-service", "open_to": []},
    {"port": 8411, "owner": "blockchain-gateway", "open_to": EVERYBODY},
    {"port": 9507, "owner": "neo4j", "open_to": [f"{NEAR}/32"]},
]
FIREWALL = {"ssh_port": SSH, "network": "172.28.84.0/24", "ports": PORTS}
DEFINITION: dict[str, Any] = {"firewall": FIREWALL}
STRANGERS = 8206
"""Somebody else's service on the same host (D20)."""


@contextlib.contextmanager
def firewall_world(backend: str, tmp_path: Path) -> Iterator[World]:
    """With the host's own listeners, and a container whose ports are published as Docker does it."""
    reason = namespaces.why_not()
    if reason:
        pytest.skip(reason)
    tools = {name: found for name in TOOLS if (found := program(name, backend))}
    if len(tools) < len(TOOLS):
        pytest.skip(f"iptables has no backend {backend} here")
    with namespaces.world(tools, tmp_path / "tools") as world:
        works = world.host.run("iptables", "-t", "nat", "-S", check=False)
        if "-P PREROUTING" not in works:
            pytest.skip(f"iptables doesn't work in a network namespace here: {works.strip()}")
        others_have_rules(world.host)
        world.host.listen(SSH, 3306, 6379, STRANGERS, 8411)
        world.box.listen(8401, 7687)
        world.publish(8401)
        world.publish(9507, 7687)
        for source in (NEAR, FAR, NEAR6, FAR6):  # the neighbours get to know each other first, which takes a second
            world.outside.connection(HOST6 if ":" in source else HOST, SSH, source, 5).close()
        yield world


def program(name: str, backend: str) -> str | None:
    family, _, action = name.partition("-")
    full = "-".join(filter(None, [family, backend, action]))
    return shutil.which(full, path=namespaces.SBIN)


def others_have_rules(host: Machine) -> None:
    """Rules, chains and comments that are none of our business."""
    for tool in ("iptables", "ip6tables"):
        host.run(tool, "-N", "f2b-sshd")
        host.run(tool, "-A", "INPUT", "-p", "tcp", "--dport", "22", "-j", "f2b-sshd")
        host.run(tool, "-A", "f2b-sshd", "-m", "comment", "--comment", 'a "quoted" \\ word', "-j", "RETURN")
        host.run(tool, "-A", "FORWARD", "-i", "wg0", "-j", "DROP")


def hostctl(machine: Machine, root: Path, verb: str, definition: Any = DEFINITION, check: bool = True) -> Any:
    said = machine.run(sys.executable, RUN, root, verb, text=json.dumps(definition), check=check, PYTHONPATH=str(REAL))
    return json.loads(said) if check else said


def saved(machine: Machine) -> str:
    """All tables of both families, without what counts or dates."""
    text = machine.run("iptables-save") + machine.run("ip6tables-save")
    lines = [re.sub(r"\[\d+:\d+\]", "", line) for line in text.splitlines() if not line.startswith("#")]
    return "\n".join(lines)


def reached(world: World) -> set[str]:
    """Which ports answer from where."""
    probes: dict[str, tuple[Machine, str, int, str]] = {
        f"{port} from {source}": (world.outside, HOST6 if ":" in source else HOST, port, source)
        for port, source in itertools.product((SSH, 3306, 6379, STRANGERS, 8411), (NEAR, FAR, NEAR6, FAR6))
    }
    for port, source in itertools.product((8401, 9507), (NEAR, FAR)):
        probes[f"{port} from {source}"] = (world.outside, HOST, port, source)
    probes[f"container's 8401 straight from {NEAR}"] = (world.outside, BOX, 8401, NEAR)
    for name, address, port in (("3306", GATEWAY, 3306), ("public 6379", HOST, 6379), ("ssh", HOST, SSH)):
        probes[f"{name} from the container"] = (world.box, address, port, "")
    for name, address, port in (("3306", "127.0.0.1", 3306), ("public 6379", HOST, 6379)):
        probes[f"{name} from the host"] = (world.host, address, port, "")
    with ThreadPoolExecutor(len(probes)) as pool:
        found = pool.map(lambda probe: probe[0].connects(*probe[1:]), probes.values())
        return {name for name, answered in zip(probes, found, strict=True) if answered}


INSIDE = {f"{name} from the container" for name in ("3306", "public 6379", "ssh")}
INSIDE |= {f"{name} from the host" for name in ("3306", "public 6379")}
ANYWHERE = {f"{port} from {source}" for port in (SSH, STRANGERS, 8411) for source in (NEAR, FAR, NEAR6, FAR6)}
CLOSED = {f"6379 from {source}" for source in (NEAR, FAR, NEAR6, FAR6)} | {
    *(f"8401 from {NEAR}", f"8401 from {FAR}", f"container's 8401 straight from {NEAR}"),
    *(f"3306 from {FAR}", f"3306 from {FAR6}", f"9507 from {FAR}"),
}
LISTED = {f"3306 from {NEAR}", f"3306 from {NEAR6}", f"9507 from {NEAR}"}


class Knocking:
    """Connects to the host's SSH port without a pause, on `with`."""

    def __init__(self, world: World) -> None:
        self._machine, self._stop = world.outside, threading.Event()
        self._thread = threading.Thread(target=self._knock, daemon=True)
        self.answered, self.failed = 0, list[str]()

    def _knock(self) -> None:
        for address, source in itertools.cycle([(HOST, FAR), (HOST6, FAR6)]):
            if self._stop.is_set():
                return
            try:
                # Less than the second after which a lost SYN is sent again: one that is dropped counts.
                self._machine.connection(address, SSH, source, 0.9).close()
                self.answered += 1
            except OSError as error:
                self.failed.append(f"{address}: {error}")

    def __enter__(self) -> Knocking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)


def variants(number: int) -> dict[str, Any]:
    """Another firewall each time."""
    ports = [{"port": 10000 + number, "owner": "x", "open_to": [f"10.{number}.0.0/16"]}, *PORTS[number % 3 :]]
    return {"firewall": {**FIREWALL, "ports": ports}}


def docker_starts(host: Machine) -> None:
    """What dockerd does when it starts (20.10): its chains, DOCKER-USER in front, ACCEPT for what it publishes."""
    for chain in ("DOCKER", "DOCKER-USER"):
        host.run("iptables", "-N", chain, check=False)
    for rule in (["DOCKER-USER", "-j", "RETURN"], ["DOCKER", "-d", f"{BOX}/32", "-j", "ACCEPT"]):
        if "No chain" in host.run("iptables", "-C", *rule, check=False) or host.run(
            "iptables", "-C", *rule, check=False
        ):
            host.run("iptables", "-A", *rule)
    for jump in ("DOCKER", "DOCKER-USER"):
        host.run("iptables", "-D", "FORWARD", "-j", jump, check=False)
        host.run("iptables", "-I", "FORWARD", "-j", jump)


class Replaced:
    """A tool of the host that isn't what it was, on `with`."""

    def __init__(self, tool: Path, shim: str) -> None:
        self.tool, self.shim, self.real = tool, SHIMS / shim, tool.readlink()

    def __enter__(self) -> Replaced:
        self.tool.unlink()
        self.tool.symlink_to(self.shim)
        return self

    def __exit__(self, *_: object) -> None:
        self.tool.unlink()
        self.tool.symlink_to(self.real)

    def apply(self, host: Machine, root: Path, definition: Any, forget: str = "") -> str:
        text, env = json.dumps(definition), {"REAL_TOOL": str(self.real), "FORGET": forget}
        command = [sys.executable, RUN, root, "apply"]
        return host.run(*command, text=text, check=False, PYTHONPATH=str(REAL), **env).strip()


def chains_of_ours(machine: Machine) -> set[str]:
    return chains_of_ours_in(saved(machine))


def chains_of_ours_in(text: str) -> set[str]:
    return {word for word in re.findall(r"[A-Z][A-Z-]+", text) if word.startswith(("BLOCKCHAIN", "DOCKER"))}


def zipapp(folder: Path) -> Path:
    path = folder / "hostctl.pyz"
    path.write_bytes(pack.pack())
    return path
