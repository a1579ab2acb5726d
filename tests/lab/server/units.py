"""The daemons of a simulated server: what a systemd would start, by name, with a pid file each under /run/lab.

Used by PID 1 (boot.py) and by the stand-in for systemctl.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import databases

RUN = Path("/run/lab")
LOGS = Path("/var/log")
CONFIG = Path("/etc/lab.json")
HERE = Path(__file__).resolve().parent
START_SECONDS = 60.0
STOP_SECONDS = 25.0
# What people and packages call them.
ALIASES = {"sshd": "ssh", "mariadb": "mysql", "postgresql": "postgres", "redis-server": "redis"}


def config():
    """What the driver asked for: `services` (name -> ports), `passwords`, `cgroup`, …"""
    return json.loads(CONFIG.read_text())


def name_of(unit):
    """The daemon that a unit's name means, or None when it is none of them."""
    name = unit[: -len(".service")] if unit.endswith(".service") else unit
    name = ALIASES.get(name, name)
    return name if name in known() else None


def known():
    """Every daemon that can be started here; Docker only where it is installed."""
    docker = ["docker"] if shutil.which("dockerd", path="/usr/sbin:/usr/bin:/usr/local/bin") else []
    return [*docker, "ssh", *config()["services"]]


def command(name):
    """The argv that starts a daemon in the foreground."""
    if name == "docker":
        # Containers' cgroups lie where the driver finds and removes them when this server is gone.
        return ["dockerd", "--cgroup-parent", config()["cgroup"]]
    if name == "ssh":
        return ["/usr/sbin/sshd", "-D", "-E", "/var/log/sshd.log"]
    ports = config()["services"][name]
    if name in databases.COMMANDS:
        return databases.COMMANDS[name](ports[0], config()["passwords"])
    return [sys.executable, "-SE", str(HERE / "standins.py"), name, *map(str, ports)]


def ready(name):
    """Whether a daemon answers."""
    if name == "docker":
        return _accepts(socket.AF_UNIX, "/var/run/docker.sock") and _quiet(["docker", "version"])
    if name == "ssh":
        return _accepts(socket.AF_INET, ("127.0.0.1", 22))
    ports = config()["services"][name]
    if not all(_accepts(socket.AF_INET, ("127.0.0.1", port)) for port in ports):
        return False
    return databases.ready(name, ports[0], config()["passwords"])


def _accepts(family, address):
    with socket.socket(family) as probe:
        probe.settimeout(2)
        return probe.connect_ex(address) == 0


def _quiet(words):
    return subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def _pid_file(name):
    return RUN / (name + ".pid")


def pid(name):
    """The daemon's process, None when it doesn't run."""
    try:
        number = int(_pid_file(name).read_text())
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return None
    return None if state == "Z" else number


def spawn(name):
    """Start a daemon that doesn't run; the process (of this caller's, until the caller ends) or None."""
    if pid(name) is not None:
        return None
    RUN.mkdir(exist_ok=True)
    if name == "ssh":
        Path("/run/sshd").mkdir(exist_ok=True)
    if name == "docker":
        Path("/var/run/docker.pid").unlink(missing_ok=True)
    databases.prepare(name)
    with (LOGS / (name + ".log")).open("ab") as log:
        process = subprocess.Popen(
            command(name), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )
    _pid_file(name).write_text(str(process.pid))
    return process


def wait_ready(name):
    """Until it answers. Raises RuntimeError when it ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while not ready(name):
        if pid(name) is None or time.monotonic() > deadline:
            lines = (LOGS / (name + ".log")).read_text(errors="replace").splitlines()[-5:]
            raise RuntimeError("{} does not start:\n{}".format(name, "\n".join(lines)))
        time.sleep(0.05)
    databases.after_start(name, config()["passwords"])


def start(name):
    """Start a daemon and wait until it answers; one that runs stays as it is."""
    if spawn(name) is not None:
        wait_ready(name)


def stop(name, how=signal.SIGTERM):
    """End a daemon and wait until it is gone."""
    number = pid(name)
    if number is None:
        return
    os.kill(number, how)
    deadline = time.monotonic() + STOP_SECONDS
    while pid(name) is not None:
        if time.monotonic() > deadline:
            os.kill(number, signal.SIGKILL)
        time.sleep(0.02)
    _pid_file(name).unlink(missing_ok=True)
