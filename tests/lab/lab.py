"""The lab: simulated servers on one network of this machine, started when somebody asks for them.

A lab has a name; its containers, network and disks carry it. One that belongs to a process is removed by the next
session when that process is gone, so a killed run of the tests leaves nothing for long. A kept one is found again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.lab import images
from tests.lab.host import LabHost
from tests.lab.keys import Keys
from tests.lab.kinds import ADMINS, IMAGES, SERVICES
from tests.lab.machine import LabError, call, docker, docker_words
from tests.ports import free_ports

REPOSITORY = Path(__file__).resolve().parents[2]
LABEL = "blockchain-dao.lab"
DISKS = Path("/run/blockchain-dao-lab")
# hostctl wants a gigabyte free.
DISK_BYTES = 1536 * 1024 * 1024
CGROUP = "blockchain-dao-lab"
# What a container needs to be a server: a Docker of its own, its own iptables, mounts.
RIGHTS = (
    "--init", "--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--cgroupns", "host",
    "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
    "--security-opt", "systempaths=unconfined", "--device-cgroup-rule", "a *:* rwm",
    "-v", "/sys/fs/cgroup:/sys/fs/cgroup:rw", "-v", "/var/lib/docker", "--tmpfs", "/run:exec,mode=755",
)  # fmt: skip


def checkout() -> str:
    """Six hex digits that tell one checkout of the project from another."""
    return hashlib.sha256(str(REPOSITORY).encode()).hexdigest()[:6]


def name_of(which: str) -> str:
    """The name of one of this checkout's labs."""
    return f"bd-lab-{checkout()}-{which}"


def kept_folder(which: str) -> Path:
    """Where a kept lab's keys are."""
    return REPOSITORY / "build/lab" / which


class Lab:
    """Hosts by name. `kept`: it outlives this process and is found again under its name."""

    def __init__(self, kept: str = "") -> None:
        self.kept = bool(kept)
        self.name = name_of(kept or str(os.getpid()))
        self.hosts: dict[str, LabHost] = {}
        folder = kept_folder(kept) if kept else Path(tempfile.mkdtemp(prefix="bd-lab-"))
        self.keys = Keys(folder)
        self._labels = {LABEL: self.name, f"{LABEL}.key": self.keys.public.split()[1]}
        if not kept:
            self._labels |= {f"{LABEL}.pid": str(os.getpid()), f"{LABEL}.started": _started(os.getpid())}
        remove_orphans()
        self.subnet = self._network()

    # --- hosts ---

    def start(self, *kinds: str, reset: bool = True) -> None:
        """The hosts of these kinds, beside each other; with `reset` those that ran already are bare again."""
        for image in {IMAGES[kind] for kind in kinds}:
            images.server(image)
        with ThreadPoolExecutor(len(kinds)) as pool:
            list(pool.map(lambda kind: self.host(kind, reset), kinds))

    def host(self, kind: str, reset: bool = True) -> LabHost:
        """The one host of a kind that tests share: started when it doesn't run, found when it was kept."""
        if kind not in self.hosts:
            self.hosts[kind] = self._find(kind, reset) or self.new_host(kind, name=kind)
        return self.hosts[kind]

    def new_host(self, kind: str, *, without: tuple[str, ...] = (), name: str = "") -> LabHost:
        """One more server, with what its kind has but for the services in `without`."""
        wrong = [one for one in without if one not in SERVICES[kind]]
        if wrong:
            raise LabError(f"{kind} has no {', '.join(wrong)} (it has {', '.join(SERVICES[kind])})")
        number = len(docker("ps", "-aq", "--filter", f"label={LABEL}={self.name}").split())
        name = name or f"{kind}-{number}"
        address = f"{self.subnet}.{10 + ['tencent', 'alibaba'].index(name)}" if name in ("tencent", "alibaba") else ""
        container = f"{self.name}-{name}"
        host = LabHost(container, kind, address or f"{self.subnet}.{20 + number}", f"{self.subnet}.1", self.keys)
        (host.local_port,) = free_ports(1)
        docker(*self._run_words(host, name, without), timeout=120)
        host.wait_ready()
        host.place_foreign()
        self.hosts[name] = host
        return host

    def _run_words(self, host: LabHost, name: str, without: tuple[str, ...]) -> list[str]:
        settings = {
            "services": {key: ports for key, ports in SERVICES[host.kind].items() if key not in without},
            "passwords": {key: password for key, (_, password) in ADMINS.items()},
            "cgroup": f"/{CGROUP}/{host.container}",
            "authorized_key": self.keys.public,
        }
        labels = {**self._labels, f"{LABEL}.kind": host.kind, f"{LABEL}.port": str(host.local_port)}
        words = ["run", "-d", "--name", host.container, "--hostname", name, "--network", self.name]
        words += ["--ip", host.address, "-p", f"127.0.0.1:{host.local_port}:22", "-v", f"{_disk(host.container)}:/opt"]
        for key, value in labels.items():
            words += ["--label", f"{key}={value}"]
        return [*words, *RIGHTS, "-e", f"LAB={json.dumps(settings)}", images.server(IMAGES[host.kind])]

    def _find(self, kind: str, reset: bool) -> LabHost | None:
        """A kept host that still fits: same image, same key, its disk still mounted. Others are removed."""
        container = f"{self.name}-{kind}"
        found = call(docker_words("inspect", container))
        if found.returncode:
            return None
        (about,) = json.loads(found.stdout)
        labels = about["Config"]["Labels"]
        fits = about["Config"]["Image"] == images.server(IMAGES[kind])
        if not fits or labels.get(f"{LABEL}.key") != self._labels[f"{LABEL}.key"] or not _mounted(container):
            remove(container)
            return None
        address = about["NetworkSettings"]["Networks"][self.name]["IPAMConfig"]["IPv4Address"]
        host = LabHost(container, kind, address, f"{self.subnet}.1", self.keys)
        host.local_port = int(labels[f"{LABEL}.port"])
        if not about["State"]["Running"]:
            docker("start", container)
        host.wait_ready()
        if reset:
            host.reset()
        return host

    def discard(self, host: LabHost) -> None:
        """Remove one host before the others."""
        remove(host.container)
        self.hosts = {name: one for name, one in self.hosts.items() if one is not host}

    # --- the network ---

    def _network(self) -> str:
        """The first three numbers of the lab's own network, made where it isn't there; outside of 172.16/12, where
        stacks and Docker have theirs."""
        found = call(docker_words("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", self.name))
        if found.returncode == 0:
            return found.stdout.strip().rpartition(".")[0]
        labels = [word for key, value in self._labels.items() for word in ("--label", f"{key}={value}")]
        first = int(checkout(), 16)
        for step in range(200):
            prefix = f"10.213.{(first + step) % 256}"
            made = call(docker_words("network", "create", *labels, "--subnet", f"{prefix}.0/24", self.name))
            if made.returncode == 0:
                return prefix
            if "overlap" not in made.stderr:
                raise LabError(f"the lab's network: {made.stderr.strip()}")
        raise LabError("no free network for the lab in 10.213.0.0/16")

    # --- the end ---

    def close(self) -> None:
        """Remove everything of this lab, or leave a kept one running."""
        self.keys.close()
        if not self.kept:
            remove_lab(self.name)
            shutil.rmtree(self.keys.folder, ignore_errors=True)


def labs() -> list[str]:
    """The names of all labs on this machine."""
    return sorted(set(_listed("ps", "-a", f'{{{{.Label "{LABEL}"}}}}')))


def remove_lab(name: str) -> None:
    """Remove a lab's containers, disks and network; nothing when there is none."""
    containers = docker("ps", "-a", "--filter", f"label={LABEL}={name}", "--format", "{{.Names}}").split()
    # Somebody may have removed a container by hand: its disk is still there.
    for container in {*containers, *(disk.name for disk in DISKS.glob(f"{name}-*"))}:
        remove(container)
    call(docker_words("network", "rm", name))


def remove(container: str) -> None:
    """Remove one host with its disks, and what its own Docker left outside of it."""
    call(docker_words("rm", "-f", "-v", container))
    disk = DISKS / container
    if _mounted(container):
        subprocess.run(["umount", "-l", disk], check=False)
    with contextlib.suppress(OSError):
        disk.rmdir()
    # The cgroups of its containers: empty ones, as their processes ended with it.
    for group in [*Path("/sys/fs/cgroup").glob(f"*/{CGROUP}/{container}"), Path("/sys/fs/cgroup", CGROUP, container)]:
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()


def remove_orphans() -> None:
    """Remove the labs of processes that are gone."""
    form = f'{{{{.Label "{LABEL}"}}}} {{{{.Label "{LABEL}.pid"}}}} {{{{.Label "{LABEL}.started"}}}}'
    kinds = (("ps", "-a"), ("network", "ls"))
    found = {line for kind in kinds for line in _listed(*kind, form)}
    for line in found:
        name, _, owner = line.partition(" ")
        pid, _, started = owner.partition(" ")
        if pid and _started(int(pid)) != started:
            remove_lab(name)


def _listed(*words: str) -> list[str]:
    *verb, form = words
    return docker(*verb, "--filter", f"label={LABEL}", "--format", form).splitlines()


def _started(pid: int) -> str:
    """When a process started, in ticks since this machine's boot; empty when there is none."""
    try:
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
    return f"{ticks}-{Path('/proc/sys/kernel/random/boot_id').read_text().strip()[:8]}"


def _disk(container: str) -> Path:
    """The small file system that is a host's /opt: in memory, and it stays when the host is switched off."""
    folder = DISKS / container
    folder.mkdir(parents=True, exist_ok=True)
    if not _mounted(container):
        call(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=755", "tmpfs", str(folder)])
    return folder


def _mounted(container: str) -> bool:
    return os.path.ismount(DISKS / container)
