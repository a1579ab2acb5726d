"""Where apt takes packages from: the host's own sources, or one mirror alone.

A mirror's list, its indexes and what is downloaded from it lie in a folder of their own that goes with the install:
nothing of it stays in the host's settings.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from typing import Dict, Iterator, List, NamedTuple, Sequence, Tuple

from hostctl.system_command import failed, run

OS_RELEASE = "/etc/os-release"
LOCK_SECONDS = 120
KEYRINGS = {
    "debian": "/usr/share/keyrings/debian-archive-keyring.gpg",
    "ubuntu": "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
}
_COMPONENTS = {"debian": "main", "ubuntu": "main universe"}
_FOLDER = "hostctl-apt-"
_HELD = "held"
_READABLE = 0o755
_LOCKED = "Could not get lock"
_PAUSE_SECONDS = 3.0


class Source(NamedTuple):
    """Sources whose indexes were read."""

    options: List[str]
    """What apt has to be told with each command."""
    problem: str
    """What went wrong with an index; it may be one that doesn't matter here."""
    held: Tuple[int, ...] = ()
    """What each command has to inherit, so that nobody takes its folder away under it."""


@contextmanager
def source(mirror: str) -> Iterator[Source]:
    """The host's own sources, or (while this lasts) the mirror alone."""
    _sweep()
    if not mirror:
        yield Source([], _update([]))
        return
    folder = tempfile.mkdtemp(prefix=_FOLDER)
    try:
        with open(os.path.join(folder, _HELD), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield _read(mirror, _options(folder), folder, lock.fileno())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read(mirror: str, options: List[str], folder: str, held: int) -> Source:
    problem = ""
    for text in _texts(mirror):
        with open(os.path.join(folder, "sources.list"), "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), 0o644)
            stream.write(text)
        problem = _update(options, held)
        if not problem:
            break
    return Source(options, problem, (held,))


def refusals() -> List[Tuple[str, str]]:
    """Why this host can't use a mirror of its distribution, each with its cure."""
    release = _release()
    kind = release.get("ID", "")
    if kind not in KEYRINGS or not release.get("VERSION_CODENAME"):
        what = "packages_mirror: only releases of Debian and Ubuntu are known, and this is %s"
        return [(what % (release.get("PRETTY_NAME") or "neither"), "set apt's own sources to the mirror")]
    if not os.path.exists(KEYRINGS[kind]):
        what = "packages_mirror: the keys that its packages are signed with are missing (%s)" % KEYRINGS[kind]
        return [(what, "`apt-get install %s`" % ("debian-archive-keyring" if kind == "debian" else "ubuntu-keyring"))]
    return []


def _options(folder: str) -> List[str]:
    """A folder that apt uses in the place of its own; it downloads as a user of its own, who must get in."""
    os.chmod(folder, _READABLE)
    for name in ("lists", "cache", "archives"):
        for path in (os.path.join(folder, name), os.path.join(folder, name, "partial")):
            os.mkdir(path)
            os.chmod(path, _READABLE)
    settings = {
        "Dir::Etc::SourceList": "%s/sources.list" % folder,
        "Dir::Etc::SourceParts": "-",
        "Dir::State::Lists": "%s/lists" % folder,
        "Dir::Cache": "%s/cache" % folder,
        "Dir::Cache::Archives": "%s/archives" % folder,
    }
    return [word for name, value in settings.items() for word in ("-o", "%s=%s" % (name, value))]


def _texts(mirror: str) -> List[str]:
    """The distribution with its updates, and without, which a mirror need not have; signed by its own keys alone."""
    release = _release()
    kind, codename = release["ID"], release["VERSION_CODENAME"]
    suites = [codename, codename + "-updates"] + ([codename + "-security"] if kind == "ubuntu" else [])
    line = "deb [signed-by=%s] %s %%s %s\n" % (KEYRINGS[kind], mirror.replace("%", "%%"), _COMPONENTS[kind])
    return ["".join(line % suite for suite in suites), line % codename]


def _update(options: Sequence[str], *held: int) -> str:
    """Reads the indexes anew; gives what went wrong."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        code, said = run(["apt-get", "-q", *options, "update"], held)
        # apt waits for dpkg's lock, but not for that of the indexes, which a fresh server's own update holds.
        if code == 0 or _LOCKED not in said or time.monotonic() > deadline:
            return "" if code == 0 else str(failed(["apt-get", "update"], said))
        time.sleep(_PAUSE_SECONDS)


def _release() -> Dict[str, str]:
    try:
        with open(OS_RELEASE, encoding="utf-8") as stream:
            pairs = [line.strip().partition("=") for line in stream]
    except OSError:
        return {}
    return {name: value.strip("\"'") for name, _, value in pairs if name}


def _sweep() -> None:
    """Removes what killed runs left. What they started may work on: it holds the lock that it inherited."""
    parent = tempfile.gettempdir()
    for folder in [os.path.join(parent, name) for name in os.listdir(parent) if name.startswith(_FOLDER)]:
        try:
            with open(os.path.join(folder, _HELD)) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue
