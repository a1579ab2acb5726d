"""Makes a simulated server bare again: `reset.py [images]`, as it was after its first boot.

Ends our processes, removes every container, volume and network that isn't the foreign one's, our folder, units,
firewall rules, and what was made in the databases and in Consul; starts again what was stopped. With `images` the
images that were loaded go too, but the foreign container's.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parent))

import contextlib

import databases
import systemctl
import units

FOREIGN = "lab.foreign"
RULES = {"iptables": Path("/etc/lab-rules-4"), "ip6tables": Path("/etc/lab-rules-6")}
OWN_NETWORKS = ("bridge", "host", "none")
# What a test may have left in places that programs share with others.
LITTER = ("/etc/docker/daemon.json", "/root/.docker", "/etc/ssh/sshd_config.d/lab-clock.conf", "/run/lab/sampled")


class Docker(http.client.HTTPConnection):
    """The Engine's API on its socket: a dozen removals at once take as long as one."""

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/var/run/docker.sock")


def api(method, path):
    """One call; its answer's JSON. Raises RuntimeError for what is neither done nor gone already."""
    connection = Docker("localhost", timeout=30)
    try:
        connection.request(method, path, headers={"Host": "docker", "Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status >= 400 and answer.status not in (404, 409):
        raise RuntimeError(f"{method} {path}: {text.decode()}")
    return json.loads(text) if text.strip().startswith((b"{", b"[")) else None


def main(words):
    """Everything that can be done beside each other is."""
    end_processes()
    with ThreadPoolExecutor(24) as pool:
        chores = [pool.submit(empty_docker, pool, "images" in words), pool.submit(empty_databases)]
        tidy_files()
        for chore in chores:
            chore.result()
    restore_rules()
    for name in units.known():
        units.start(name)


def end_processes():
    """hostctl, compose and what a test left listening or sleeping."""
    mine = os.getpid()
    for entry in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - names, and quickly
        try:
            words = Path("/proc", entry, "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        ours = any(b"hostctl" in word or b"docker-compose" in word or b"lab/taker.py" in word for word in words[:4])
        if ours and int(entry) != mine:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(entry), signal.SIGKILL)


def empty_docker(pool, images):
    """Containers first, then what they used."""
    if "docker" not in units.known():
        return
    units.start("docker")
    foreign = {"Image": ""}
    gone = []
    for one in api("GET", "/containers/json?all=1"):
        if FOREIGN in one["Labels"]:
            foreign[one["Id"]] = one["ImageID"]
        else:
            gone.append("/containers/{}?force=1&v=1".format(one["Id"]))
    list(pool.map(lambda path: api("DELETE", path), gone))
    rest = ["/networks/" + one["Id"] for one in api("GET", "/networks") if one["Name"] not in OWN_NETWORKS]
    used = api("GET", "/volumes")["Volumes"] or []
    rest += ["/volumes/{}?force=1".format(quote(one["Name"], safe="")) for one in used]
    list(pool.map(lambda path: api("DELETE", path), rest))
    if images:
        remove_images(pool, set(foreign.values()))


def remove_images(pool, kept):
    """All but these, however often: one that others were built on goes after them only."""
    before = None
    while True:
        rest = {one["Id"] for one in api("GET", "/images/json")} - kept
        if not rest or rest == before:
            return
        list(pool.map(lambda ident: api("DELETE", f"/images/{ident}?force=1"), rest))
        before = rest


def empty_databases():
    """Start what was stopped, then empty it."""
    settings = units.config()
    for name, ports in settings["services"].items():
        if name == "consul":
            Path("/var/lib/lab-consul.json").unlink(missing_ok=True)
        if name in databases.COMMANDS:
            units.start(name)
            databases.empty(name, ports[0], settings["passwords"])


def tidy_files():
    """Our folder, units and whatever else lies about."""
    for path in systemctl.FOLDERS[0].glob("blockchain-dao*"):
        systemctl.disable(path.name)
        path.unlink()
    shutil.rmtree(str(systemctl.ACTIVE), ignore_errors=True)
    for path in [*map(Path, LITTER), *(path for path in Path("/opt").iterdir() if path.name != "containerd")]:
        shutil.rmtree(str(path)) if path.is_dir() else path.unlink(missing_ok=True)
    shutil.copy("/etc/lab-authorized_keys", "/root/.ssh/authorized_keys")


def rules(program):
    """The rules of both tables that anybody writes, without counters and comments."""
    words = [program + "-save"]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    lines = [line.split(" [")[0] for line in done.stdout.splitlines() if not line.startswith("#")]
    return [line + " [0:0]" if line.startswith(":") else line for line in lines]


def remember_rules():
    """The rules of a server that nobody has touched, once."""
    for program, path in RULES.items():
        if not path.exists():
            path.write_text("\n".join(rules(program)) + "\n")


def restore_rules():
    """The remembered rules again, where they differ: with our containers gone Docker's are the same as then."""
    for program, path in RULES.items():
        text = path.read_text()
        if "\n".join(rules(program)) + "\n" != text:
            subprocess.run([program + "-restore"], input=text, text=True, check=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["remember-rules"]:
        remember_rules()
    else:
        main(sys.argv[1:])
