#!/usr/bin/python3
"""A stand-in for systemctl: the lab's servers are containers without systemd.

It does honestly what a program under test asks of the real one, for the daemons of units.py and for unit files of
`Type=oneshot`, and refuses everything else. Enabled oneshot units run at boot, in boot.py: those with
`Before=docker.service` before Docker, as with systemd.
"""

import configparser
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import units

FOLDERS = [Path("/etc/systemd/system"), Path("/lib/systemd/system")]
ACTIVE = units.RUN / "active"


class Refused(Exception):
    """A message, and the exit code that the real one has for it."""

    def __init__(self, message, code=1):
        super().__init__(message)
        self.code = code


class Unit(configparser.RawConfigParser):
    """A unit file: keys may come several times, then their values follow each other."""

    def __init__(self, path):
        super().__init__(strict=False, delimiters=("=",), comment_prefixes=("#", ";"), interpolation=None)
        self.optionxform = str
        self.path = path
        self.read_string(path.read_text())
        self.lists = {}
        for line in path.read_text().splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.startswith(("#", ";")):
                self.lists.setdefault(key.strip(), []).append(value.strip())

    def words(self, key):
        """All the words that a key has, in all its lines."""
        return [word for line in self.lists.get(key, []) for word in line.split()]


def full(name):
    """`docker` means docker.service."""
    return name if "." in name else name + ".service"


def find(name):
    """The unit file, None when there is none."""
    return next((folder / full(name) for folder in FOLDERS if (folder / full(name)).is_file()), None)


def oneshot(name):
    """The unit file of a oneshot unit. Refuses what is none."""
    path = find(name)
    if path is None:
        raise Refused(f"Unit {full(name)} could not be found.", 5)
    unit = Unit(path)
    if unit.get("Service", "Type", fallback="simple") != "oneshot":
        raise Refused(f"the lab's systemctl runs oneshot units and its own daemons; {full(name)} is neither")
    return unit


def is_daemon(name):
    """Whether it is one of the simulated server's own daemons."""
    return units.name_of(name) is not None


def links(unit, name):
    """Where `enable` puts links: one per target that wants the unit."""
    root = FOLDERS[0]
    wanted = [root / (target + ".wants") / full(name) for target in unit.words("WantedBy")]
    return wanted + [root / (target + ".requires") / full(name) for target in unit.words("RequiredBy")]


def enable(name):
    """Make it start at boot."""
    if is_daemon(name) or name.endswith(".socket"):
        return
    unit = Unit(find(name)) if find(name) else oneshot(name)
    for link in links(unit, name):
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(unit.path)


def disable(name):
    """No longer start it at boot."""
    for folder in FOLDERS[0].glob("*.*"):
        if folder.is_dir() and (folder / full(name)).is_symlink():
            (folder / full(name)).unlink()


def enabled(name):
    """Whether it starts at boot: enabled, disabled, or not-found."""
    if is_daemon(name):
        return "enabled"
    if any((folder / full(name)).is_symlink() for folder in FOLDERS[0].glob("*.*") if folder.is_dir()):
        return "enabled"
    return "disabled" if find(name) else "not-found"


def active(name):
    """active, inactive or failed."""
    if is_daemon(name):
        return "inactive" if units.pid(units.name_of(name)) is None else "active"
    state = ACTIVE / full(name)
    return state.read_text() if state.exists() else "inactive"


def start(name):
    """Start a daemon, or run a oneshot unit's commands."""
    if name.endswith(".socket"):
        return
    if is_daemon(name):
        units.start(units.name_of(name))
        return
    unit = oneshot(name)
    stays = unit.get("Service", "RemainAfterExit", fallback="no") in ("yes", "true", "1", "on")
    if stays and active(name) == "active":
        return
    ok = run(unit, "ExecStart")
    ACTIVE.mkdir(parents=True, exist_ok=True)
    (ACTIVE / full(name)).write_text("failed" if not ok else "active" if stays else "inactive")
    if not ok:
        raise Refused(f"Job for {full(name)} failed because the control process exited with error code.")


def stop(name, how=signal.SIGTERM):
    """Stop a daemon, or run a oneshot unit's ExecStop."""
    if is_daemon(name):
        units.stop(units.name_of(name), how)
    elif not name.endswith(".socket"):
        run(oneshot(name), "ExecStop")
        (ACTIVE / full(name)).unlink(missing_ok=True)


def restart(name):
    """Stop and start."""
    stop(name)
    start(name)


def reload(name):
    """SIGHUP for Docker or sshd, which read their configuration again; sshd is back when this returns."""
    daemon = units.name_of(name)
    number = units.pid(daemon) if daemon in ("docker", "ssh") else None
    if number is None:
        raise Refused(f"{full(name)} can't be reloaded here: it is no running Docker or sshd")
    before = times_listening()
    os.kill(number, signal.SIGHUP)
    deadline = time.monotonic() + units.START_SECONDS
    while daemon == "ssh" and (times_listening() == before or not units.ready("ssh")):
        if time.monotonic() > deadline:
            raise Refused("sshd didn't come back after SIGHUP")
        time.sleep(0.02)


def times_listening():
    """How often sshd has begun to listen: it stops for a moment when it is told to reload."""
    return (units.LOGS / "sshd.log").read_text(errors="replace").count("Server listening on 0.0.0.0 ")


def run(unit, key):
    """A oneshot unit's commands one after the other; whether all went well."""
    with (units.LOGS / (unit.path.name + ".log")).open("ab") as log:
        for line in unit.lists.get(key, []):
            words = shlex.split(line.lstrip("-@:+!"))
            done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", check=False)
            if done.returncode and not line.startswith("-"):
                return False
    return True


def run_enabled(before_docker):
    """At boot: every enabled oneshot unit that wants (or doesn't want) to be before Docker."""
    names = sorted({link.name for link in FOLDERS[0].glob("*.*/*.service") if link.is_symlink()})
    for name in names:
        if is_daemon(name) or not (FOLDERS[0] / name).is_file():
            continue  # Debian's own units are for a machine with a systemd
        unit = Unit(FOLDERS[0] / name)
        if unit.get("Service", "Type", fallback="simple") != "oneshot":
            continue
        if ("docker.service" in unit.words("Before")) == before_docker:
            try:
                start(name)
            except Refused as error:  # a failed unit doesn't stop a boot
                print(error, file=sys.stderr, flush=True)


def say(state, good):
    """Print one word; the real one's exit code."""
    print(state)
    return 0 if state in good else 3 if state in ("inactive", "failed") else 1


def main(words):
    """One call, as typed."""
    now = "--now" in words
    rest = [word for word in words if not word.startswith("-")]
    if not rest:
        raise Refused("the lab's systemctl lists nothing")
    verb, names = rest[0], rest[1:]
    if verb in ("daemon-reload", "daemon-reexec", "reset-failed"):
        return 0
    if verb == "is-system-running":
        return say("running", ("running",))
    if verb in ("is-enabled", "is-active", "is-failed"):
        ask, good = (enabled, "enabled") if verb == "is-enabled" else (active, verb[3:])
        return max([say(ask(name), (good,)) for name in names] or [1])
    act = {"enable": enable, "disable": disable, "start": start, "stop": stop, "restart": restart, "reload": reload}
    if verb not in act:
        raise Refused(f"the lab's systemctl doesn't know {verb!r}")
    for name in names:
        act[verb](name)
        if now and verb in ("enable", "disable"):
            (start if verb == "enable" else stop)(name)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (Refused, RuntimeError) as error:
        print(error, file=sys.stderr)
        sys.exit(getattr(error, "code", 1))
