"""Installing Docker and compose from the distribution's packages, and starting Docker.

apt on Debian and Ubuntu, dnf or yum elsewhere. Nothing asks: a question would wait for ever.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import List, Sequence, Tuple

from hostctl import apt_source
from hostctl.apt_source import Source
from hostctl.errors import HostctlError
from hostctl.system_command import SYSTEM_PATH, failed, must, run

SYSTEMD = "/run/systemd/system"
ENGINES = {"apt-get": ("docker.io", "docker-ce"), "dnf": ("docker-ce", "docker", "moby-engine")}
COMPOSES = {
    # The plugin first: the 1.x that Ubuntu still has can't recreate under the Docker that it has.
    "apt-get": ("docker-compose-v2", "docker-compose-plugin", "docker-compose"),
    "dnf": ("docker-compose-plugin", "docker-compose"),
}
# Docker starts no container where the kernel has AppArmor and its parser is missing.
_BESIDE = ("ca-certificates", "apparmor")
_KEEP_SETTINGS = ("--force-confdef", "--force-confold")
_CUT_OFF = "dpkg --configure -a"
_SET_UP = ("dpkg", "--configure", "-a", *_KEEP_SETTINGS)


def manager() -> str:
    """The package manager of this host; empty when it has none that we know."""
    return next((name for name in ("apt-get", "dnf", "yum") if shutil.which(name, path=SYSTEM_PATH)), "")


def cure() -> str:
    """What a person would run."""
    name = manager()
    if name == "apt-get":
        return "`apt-get update && apt-get install docker.io docker-compose`"
    if name:
        return "`%s install docker-ce docker-compose-plugin` (your provider mirrors Docker's repository)" % name
    return "install Docker and docker-compose as this system does it"


def refusals(mirror: str) -> List[Tuple[str, str]]:
    """Why nothing can be installed here, each with its cure; empty when it can."""
    name = manager()
    if not name:
        return [("install_docker: there is no apt-get, dnf or yum here", "install Docker by hand")]
    found: List[Tuple[str, str]] = []
    if os.geteuid() != 0:
        found.append(("install_docker: only root can install packages", "let host.user be root, or install by hand"))
    if mirror and name != "apt-get":
        found.append(
            ("packages_mirror: it is for apt, and this host has %s" % name, "set %s's own sources to it" % name)
        )
    elif mirror:
        found += apt_source.refusals()
    return found


def install(engine: bool, compose: bool, mirror: str) -> List[str]:
    """Installs what is asked for; says what. Raises HostctlError with the end of what the package manager said."""
    name = manager()
    if name != "apt-get":
        chosen, where = _by_dnf(name, engine, compose), name
    else:
        with apt_source.source(mirror) as source:
            chosen = _by_apt(engine, compose, source)
        where = "apt-get, from %s alone" % mirror if mirror else "apt-get"
    return ["installed %s (%s)" % (" ".join(chosen), where)]


def start_command() -> List[str]:
    """What starts Docker, at boot too where the system can."""
    if os.path.isdir(SYSTEMD):
        return ["systemctl", "enable", "--now", "docker"]
    return ["service", "docker", "start"]


def start() -> None:
    """Starts Docker. Raises HostctlError."""
    code, said = run(start_command())
    if code != 0 and manager() == "apt-get":  # it may be there without being set up: an install was cut off
        must(_SET_UP)
        code, said = run(start_command())
    if code != 0:
        raise failed(start_command(), said)


def _by_apt(engine: bool, compose: bool, source: Source) -> List[str]:
    try:
        chosen = _choose("apt-get", engine, compose, _candidates(source))
    except HostctlError as missing:
        raise HostctlError("%s\n%s" % (missing, source.problem) if source.problem else str(missing)) from None
    words = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=%d" % apt_source.LOCK_SECONDS, *source.options]
    words += [word for option in _KEEP_SETTINGS for word in ("-o", "Dpkg::Options::=" + option)]
    command = [*words, "--no-install-recommends", "install", *chosen, *(_BESIDE if engine else ())]
    code, said = run(command, source.held)
    if code != 0 and _CUT_OFF in said:  # an install before this one was cut off
        must(_SET_UP)
        code, said = run(command, source.held)
    if code != 0:
        raise failed(command, said)
    return chosen


def _candidates(source: Source) -> List[str]:
    """Which of the packages that we know can be had."""
    names = [*ENGINES["apt-get"], *COMPOSES["apt-get"]]
    code, said = run(["apt-cache", *source.options, "policy", *names])
    if code != 0:
        raise failed(["apt-cache", "policy"], said)
    found = re.findall(r"^(\S+):\n(?:.*\n)?  Candidate: (\S+)$", said, re.MULTILINE)
    return [name for name, version in found if version != "(none)"]


def _by_dnf(name: str, engine: bool, compose: bool) -> List[str]:
    every = [*(ENGINES["dnf"] if engine else ()), *(COMPOSES["dnf"] if compose else ())]
    # `list` goes by names; what only provides `docker` (podman) must not be taken for it.
    have = [package for package in every if run([name, "-q", "list", package])[0] == 0]
    chosen = _choose("dnf", engine, compose, have)
    must([name, "-y", "-q", "install", *chosen])
    return chosen


def _choose(kind: str, engine: bool, compose: bool, have: Sequence[str]) -> List[str]:
    chosen: List[str] = []
    for wanted, names in ((engine, ENGINES[kind]), (compose, COMPOSES[kind])):
        if wanted:
            name = next((name for name in names if name in have), None)
            if name is None:
                raise HostctlError("the package sources of this host have none of %s" % ", ".join(names))
            chosen.append(name)
    return chosen
