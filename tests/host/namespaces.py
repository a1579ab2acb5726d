"""Machines made of network namespaces: a host, somebody outside of it, and a container on a bridge of the host's.

    with namespaces.world() as world:
        world.host.run("iptables", "-S")
        world.outside.connects("10.99.0.1", 22)

Real interfaces, a real kernel's firewall, real TCP; nothing of the machine that runs the tests is touched.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests import packages

SBIN = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
BRIDGE = "br-0123456789ab"
HOST, GATEWAY, BOX = "10.99.0.1", "172.28.84.1", "172.28.84.2"
HOST6 = "fd99::1"
NEAR, FAR = "10.99.0.2", "10.99.0.3"
"""Two addresses outside."""
NEAR6, FAR6 = "fd99::2", "fd99::3"
_NEW_NET = 0x40000000
_BACKLOG = 64
_ECHO_SECONDS = 10


@functools.cache
def why_not() -> str | None:
    """Installs what is missing (Debian, as root); None when namespaces can be made, else the reason why not."""
    if sys.platform != "linux":
        return "no Linux: network namespaces are its own"
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    reason = packages.ensure(packages.NAMESPACES)
    if reason:
        return reason
    name = f"fw-{os.getpid()}-probe"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"no network namespaces here: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], check=True)
    return None


@dataclass
class Machine:
    """One network namespace."""

    name: str
    path: str = SBIN
    listeners: list[socket.socket] = field(default_factory=list)

    def run(self, *command: str | Path, text: str = "", check: bool = True, **env: str) -> str:
        """What a program in here prints."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.name, *command],
            input=text,
            env={**os.environ, "PATH": self.path, **env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0 or not check, f"{command}: {done.stderr}"
        return done.stdout if check else done.stdout + done.stderr

    def start(self, *command: str | Path, text: str = "") -> subprocess.Popen[str]:
        """A program in here, at work."""
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.name, *command],
            env={**os.environ, "PATH": self.path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(text)
        process.stdin.close()
        process.stdin = None  # or `communicate` flushes what is closed
        return process

    def socket(self, family: int) -> socket.socket:
        """A socket that lives in here, wherever its user does."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/proc/thread-self/ns/net").open() as home, Path("/run/netns", self.name).open() as there:
            if libc.setns(there.fileno(), _NEW_NET):
                raise OSError(ctypes.get_errno(), "setns")
            try:
                return socket.socket(family, socket.SOCK_STREAM)
            finally:
                assert libc.setns(home.fileno(), _NEW_NET) == 0

    def listen(self, *ports: int) -> None:
        """Servers that echo, for IPv4 and IPv6."""
        for port in ports:
            server = self.socket(socket.AF_INET6)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            server.bind(("::", port))
            server.listen(_BACKLOG)
            self.listeners.append(server)
            threading.Thread(target=_serve, args=(server,), daemon=True).start()

    def connection(self, address: str, port: int, source: str = "", seconds: float = 3) -> socket.socket:
        """A connection from here; OSError when nobody answers in time."""
        made = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        made.settimeout(seconds)
        try:
            if source:
                made.bind((source, 0))
            made.connect((address, port))
            made.settimeout(_ECHO_SECONDS)  # the kernel has said yes; how soon the server's turn comes is not the point
            assert echoes(made)
        except OSError:
            made.close()
            raise
        return made

    def connects(self, address: str, port: int, source: str = "") -> bool:
        """Whether an echo comes back. What is dropped never answers; a refusal is a mistake of the test."""
        try:
            self.connection(address, port, source, 0.4).close()
        except TimeoutError:
            return False
        return True


def echoes(connection: socket.socket) -> bool:
    """Whether the other end still answers."""
    connection.sendall(b"ping")
    return connection.recv(4) == b"ping"


def _serve(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_echo, args=(connection,), daemon=True).start()


def _echo(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        while data := connection.recv(64):
            connection.sendall(data)


@dataclass
class World:
    """The three of them."""

    host: Machine
    outside: Machine
    box: Machine

    def publish(self, port: int, container_port: int = 0) -> None:
        """What Docker does to publish a container's port."""
        rule = ["-p", "tcp", "--dport", str(port), "-j", "DNAT", "--to", f"{BOX}:{container_port or port}"]
        self.host.run("iptables", "-t", "nat", "-A", "PREROUTING", "-m", "addrtype", "--dst-type", "LOCAL", *rule)


@contextlib.contextmanager
def world(tools: Mapping[str, str] | None = None, folder: Path | None = None) -> Iterator[World]:
    """Three machines; `tools` (name -> program) come before all others on the host's PATH, from `folder`."""
    stem = f"fw-{os.getpid()}-{threading.get_native_id()}"
    machines = World(*(Machine(f"{stem}-{name}") for name in ("host", "outside", "box")))
    if folder is not None:
        folder.mkdir()
        for name, program in (tools or {}).items():
            (folder / name).symlink_to(program)
        machines.host.path = f"{folder}:{SBIN}"
    try:
        for machine in (machines.host, machines.outside, machines.box):
            subprocess.run(["ip", "netns", "add", machine.name], check=True)
            machine.run("ip", "link", "set", "lo", "up")
        _connect(machines)
        yield machines
    finally:
        for machine in (machines.host, machines.outside, machines.box):
            for listener in machine.listeners:
                with contextlib.suppress(OSError):
                    listener.shutdown(socket.SHUT_RDWR)
                listener.close()
            subprocess.run(["ip", "netns", "del", machine.name], check=False)


def _connect(world: World) -> None:
    host, outside, box = world.host, world.outside, world.box
    host.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", outside.name)
    host.run("ip", "link", "add", BRIDGE, "type", "bridge")
    host.run("ip", "link", "add", "veth0", "type", "veth", "peer", "name", "eth0", "netns", box.name)
    host.run("ip", "link", "set", "veth0", "master", BRIDGE)
    for machine, interface, addresses in (
        (host, "eth0", [f"{HOST}/24", f"{HOST6}/64"]),
        (outside, "eth0", [f"{NEAR}/24", f"{FAR}/24", f"{NEAR6}/64", f"{FAR6}/64"]),
        (host, BRIDGE, [f"{GATEWAY}/24"]),
        (box, "eth0", [f"{BOX}/24"]),
    ):
        for address in addresses:
            extra = ["nodad"] if ":" in address else []  # an address that is still being looked at is none yet
            machine.run("ip", "address", "add", address, "dev", interface, *extra)
        machine.run("ip", "link", "set", interface, "up")
    host.run("ip", "link", "set", "veth0", "up")
    box.run("ip", "route", "add", "default", "via", GATEWAY)
    outside.run("ip", "route", "add", "172.28.84.0/24", "via", HOST)
    host.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
