"""What a simulated server does when it is switched on, and what it does when it is switched off (SIGTERM).

Runs under docker-init, which is PID 1 and buries the dead. Boots as a Debian with systemd would: first the enabled
units that want to be before Docker, then Docker and everything else beside each other. A restart of the container is
a reboot: /run is empty again, the disk is as it was.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import databases
import reset
import systemctl
import units

BOOTED = units.RUN / "booted"
SHUT_DOWN_SECONDS = 25.0


def main():
    """Boot, say so, and stay until told to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        boot()
        BOOTED.write_text(f"{time.time():f}\n")
        while True:
            # What was started here is buried here; the rest is docker-init's.
            try:
                os.wait()
            except ChildProcessError:
                signal.pause()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        shut_down()


def boot():
    """Everything up, or a RuntimeError that says what isn't."""
    Path("/run/systemd/system").mkdir(
        parents=True, exist_ok=True
    )  # programs ask for it to see whether systemd is there
    units.RUN.mkdir(exist_ok=True)
    given = json.loads(os.environ["LAB"])
    if not units.CONFIG.exists():
        first_boot(given)
    databases.write_passwords(given["passwords"])
    systemctl.run_enabled(before_docker=True)
    names = units.known()
    for name in names:
        units.spawn(name)
    for name in names:
        units.wait_ready(name)
    systemctl.run_enabled(before_docker=False)
    reset.remember_rules()


def first_boot(given):
    """What a new server gets once: its own host keys, and the key that may log in."""
    units.CONFIG.write_text(json.dumps(given))
    units.CONFIG.chmod(0o600)
    subprocess.run(["ssh-keygen", "-A"], stdout=subprocess.DEVNULL, check=True)
    home = Path("/root/.ssh")
    home.mkdir(mode=0o700, exist_ok=True)
    keys = home / "authorized_keys"
    keys.write_text(given["authorized_key"] + "\n")
    keys.chmod(0o600)
    # The copy that a reset goes back to.
    shutil.copy(str(keys), "/etc/lab-authorized_keys")


def shut_down():
    """As systemd does it: nobody in any more, Docker ends its containers, then the rest."""
    names = units.known()
    for name in ["ssh", "docker", *(n for n in names if n not in ("ssh", "docker"))]:
        number = units.pid(name)
        if number is not None:
            os.kill(number, signal.SIGTERM)
    deadline = time.monotonic() + SHUT_DOWN_SECONDS
    while any(units.pid(name) is not None for name in names) and time.monotonic() < deadline:
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            pass
        time.sleep(0.02)


if __name__ == "__main__":
    main()
