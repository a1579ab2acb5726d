"""What a server must have before anything of ours is touched: Docker, `docker-compose`, room on its disks.

Everything that is missing is told at once, each with its cure. What the distribution's packages can mend is installed
where the stack file says so (`host.install_docker`), from `host.packages_mirror` alone where that is given. On a host
that has it all, this costs a few milliseconds: Docker is asked over its socket, and no process is started.
"""

from __future__ import annotations

import errno
import getpass
import os
import shutil
import socket
import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from hostctl import compose_program, packages
from hostctl.console import say
from hostctl.docker_api import DockerApi, socket_path
from hostctl.errors import HostctlError

ROOT = "/opt/blockchain-services"
LEAST_DISK = 10**9
DOCKERS_FOLDER = "/var/lib/docker"
ENGINE, STOPPED, COMPOSE, SHIM, OTHER = "engine", "stopped", "compose", "shim", "other"
_INSTALLED = (ENGINE, STOPPED, COMPOSE)
# From this version on the engine's answers lack what compose 1.x reads when it recreates (KeyError 'ContainerConfig').
FIRST_WITHOUT_COMPOSE_1 = 25
_DAEMON_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin"
_CONNECT_SECONDS = 10.0
_START_SECONDS = 60.0


class Gap(NamedTuple):
    """Something that is missing, and what a person can do about it."""

    kind: str
    what: str
    cure: str


class Engine(NamedTuple):
    """The daemon that answers."""

    major: int
    folder: str


def ensure(spec: Mapping[str, Any], compose_file_needed: bool = True, root: str = ROOT) -> List[str]:
    """Proves that everything is there, or makes it so; says what it did (nothing on a host that has it all).

    `spec` is the host definition's `prerequisites`: `install` (bool), `mirror` (a URL, or empty), `disk` (bytes that
    must be free). Raises HostctlError with all that is missing; nothing was touched then, unless an install itself
    failed.
    """
    gaps = look(spec, compose_file_needed, root)
    words: List[str] = []
    kinds = [gap.kind for gap in gaps]
    if spec.get("install") and set(kinds) & set(_INSTALLED) and OTHER not in kinds:
        words += _install(kinds, str(spec.get("mirror") or ""))
        gaps = look(spec, compose_file_needed, root)
    if [gap.kind for gap in gaps] == [SHIM]:
        words += _write_shim()
        gaps = look(spec, compose_file_needed, root)
    told = ["- %s: %s" % (gap.what, gap.cure) for gap in gaps if gap.kind != SHIM or len(gaps) == 1]
    if told:
        raise HostctlError("this host lacks what it needs:\n%s" % "\n".join(told))
    return words


def look(spec: Mapping[str, Any], compose_file_needed: bool = True, root: str = ROOT) -> List[Gap]:
    """All that is missing; changes nothing."""
    engine, gaps = _engine()
    if compose_file_needed:
        gaps += _compose(engine)
    folder = engine.folder if engine is not None else DOCKERS_FOLDER
    gaps += _disks([root, folder], int(spec.get("disk") or LEAST_DISK))
    if spec.get("install") and any(gap.kind in _INSTALLED for gap in gaps):
        gaps += [Gap(OTHER, *refusal) for refusal in packages.refusals(str(spec.get("mirror") or ""))]
    return gaps


def _engine() -> Tuple[Optional[Engine], List[Gap]]:
    """The daemon, or why there is none."""
    elsewhere = os.environ.get("DOCKER_HOST", "")
    if elsewhere and not elsewhere.startswith("unix://"):
        cure = "unset it: a host converges its own Docker only"
        return None, [Gap(OTHER, "DOCKER_HOST is %s" % elsewhere, cure)]
    path = socket_path()
    gap = _connect(path)
    if gap is not None:
        return None, [gap]
    api = DockerApi(path)
    try:
        version: Dict[str, Any] = api.get("/version")
        info: Dict[str, Any] = api.get("/info")
        return Engine(int(str(version["Version"]).split(".")[0]), str(info["DockerRootDir"])), []
    except (HostctlError, ValueError, KeyError, TypeError) as error:
        what = "what answers on %s is no Docker that we know (%s)" % (path, error)
        return None, [Gap(OTHER, what, "look at its log (`journalctl -u docker`)")]


def _connect(path: str) -> Optional[Gap]:
    """Why nobody answers on the socket; None when somebody does."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_CONNECT_SECONDS)
    try:
        connection.connect(path)
        return None
    except PermissionError:
        user = _user()
        cure = "let host.user be root, or `usermod -aG docker %s` on the server and log in again" % user
        return Gap(OTHER, "%s may not speak to Docker (%s)" % (user, path), cure)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR):
            return Gap(OTHER, "Docker does not answer on %s (%s)" % (path, error), "`systemctl restart docker`")
    finally:
        connection.close()
    if shutil.which("dockerd", path=_DAEMON_PATH) is None:
        return Gap(ENGINE, "Docker is not installed", _install_cure())
    return Gap(
        STOPPED, "Docker is installed, but does not run (%s)" % path, "`%s`" % " ".join(packages.start_command())
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return str(os.geteuid())


def _install_cure() -> str:
    return "%s, or say `install_docker: true` under host in the stack file" % packages.cure()


def _compose(engine: Optional[Engine]) -> List[Gap]:
    """What is wrong with `docker-compose`; whether the daemon and it fit is known only when both are there."""
    path = compose_program.find()
    if path is None:
        if compose_program.has_plugin():
            return [Gap(SHIM, "only `docker compose` is here, no docker-compose", _shim_cure())]
        return [Gap(COMPOSE, "docker-compose is not installed", _install_cure())]
    if compose_program.is_shim(path):
        if compose_program.has_plugin():
            return []
        return [Gap(COMPOSE, "the plugin that %s runs is gone" % path, _install_cure())]
    if engine is None or engine.major < FIRST_WITHOUT_COMPOSE_1:
        return []
    major = compose_program.major(path)
    if major is None:
        return [Gap(OTHER, "%s does not run" % path, "`%s version` says why" % path)]
    if major >= 2:
        return []
    what = "%s is 1.x, which can't recreate under Docker %d (KeyError: 'ContainerConfig')" % (path, engine.major)
    plugin = (
        "" if compose_program.has_plugin() else " after installing docker-compose-plugin (Ubuntu: docker-compose-v2)"
    )
    return [Gap(OTHER, what, "remove it (`apt-get remove docker-compose`)%s; `docker compose` is used then" % plugin)]


def _shim_cure() -> str:
    return 'as root, put a script of that name that runs `docker compose "$@"` into %s' % (
        os.path.dirname(compose_program.SHIM)
    )


def _write_shim() -> List[str]:
    try:
        return compose_program.write_shim()
    except OSError as error:
        raise HostctlError(
            "this host lacks what it needs:\n- no docker-compose, and %s can't be written (%s): %s"
            % (compose_program.SHIM, error.strerror, _shim_cure())
        ) from None


def _disks(folders: List[str], least: int) -> List[Gap]:
    """Each file system that is too full, told once."""
    short: Dict[int, Tuple[List[str], int]] = {}
    for folder in folders:
        there = os.path.abspath(folder)
        while not os.path.exists(there):
            there = os.path.dirname(there)
        found = os.statvfs(there)
        free = found.f_bavail * found.f_frsize
        if free < least:
            names, _ = short.setdefault(os.stat(there).st_dev, ([], free))
            names.append(folder)
    return [
        Gap(
            OTHER,
            "only %.2f GB are free for %s" % (free / 1e9, " and ".join(names)),
            "make it %.2f GB (`docker system df` and `du -xh -d2 /` show what takes it)" % (least / 1e9),
        )
        for names, free in short.values()
    ]


def _install(kinds: List[str], mirror: str) -> List[str]:
    """Installs what is missing and starts Docker."""
    words: List[str] = []
    if ENGINE in kinds or COMPOSE in kinds:
        say("installing what is missing with %s; this takes minutes" % packages.manager())
        words += packages.install(ENGINE in kinds, COMPOSE in kinds, mirror)
    if ENGINE in kinds or STOPPED in kinds:
        words += _start()
    return words


def _start() -> List[str]:
    path = socket_path()
    if _connect(path) is None:
        return []  # its package has started it
    packages.start()
    deadline = time.monotonic() + _START_SECONDS
    while _connect(path) is not None:
        if time.monotonic() > deadline:
            raise HostctlError("Docker was started and does not answer on %s: `journalctl -u docker` says why" % path)
        time.sleep(0.1)
    return ["Docker started"]
