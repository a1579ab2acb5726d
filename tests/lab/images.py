"""The images of the lab, each built once and again when its files change: its tag is a digest of them.

No registry is asked: Debian's own image, where it isn't there already, is made by debootstrap from Debian's mirror.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.machine import LabError, call, docker, docker_words

REPOSITORY = Path(__file__).resolve().parents[2]
SERVER = Path(__file__).parent / "server"
TINY = Path(__file__).parent / "tiny"
BASE = "debian:bookworm-slim"
LABEL = "blockchain-dao.lab.image"
MIRROR = "http://deb.debian.org/debian"
BUILD_SECONDS = 900.0
LOCK = Path("/tmp/blockchain-dao-lab-images.lock")
# Where a proxy has certificates of its own, the machine's list of authorities has them.
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
NOT_NEEDED = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")


def base() -> str:
    """Debian as the other images start from it."""
    with _one_at_a_time():
        if not exists(BASE):
            _bootstrap()
    return BASE


def server(kind: str) -> str:
    """The image of a simulated server: `server`, or `bare` without Docker and databases."""
    return _built(f"blockchain-dao-lab/{kind}", SERVER, "--target", kind)


def tiny() -> str:
    """Some 2 MB that serve HTTP on port 8000: somebody else's container, and whatever a test wants quickly."""
    return _built("blockchain-dao-lab/tiny", TINY)


def stand_in() -> str:
    """The project's stand-in service, also under the name that the stack files give it."""
    name = f"blockchain-dao/stand-in:{(REPOSITORY / 'image/VERSION').read_text().strip()}"
    with tempfile.TemporaryDirectory(prefix="bd-lab-image-") as folder:
        context = Path(folder, "image")
        shutil.copytree(REPOSITORY / "image", context, ignore=shutil.ignore_patterns("__pycache__", "company-ca.crt"))
        digest = digest_of(context)
        if AUTHORITIES.exists():
            shutil.copy(AUTHORITIES, context / "company-ca.crt")
        tag = _built("blockchain-dao-lab/stand-in", context, digest=digest)
    docker("tag", tag, name)
    return name


def exists(name: str) -> bool:
    """Whether the machine has an image of this name."""
    return call(docker_words("image", "inspect", name)).returncode == 0


def digest_of(folder: Path) -> str:
    """Twelve hex digits that change with the folder's files, names and modes."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            head = f"{path.relative_to(folder)} {path.stat().st_mode & 0o111} {path.stat().st_size}\n"
            digest.update(head.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def remove_all() -> None:
    """Every image that was built here and that no container uses."""
    for ident in set(docker("images", "-aq", "--filter", f"label={LABEL}").split()):
        call(docker_words("rmi", "-f", ident))


def _built(name: str, context: Path, *words: str, digest: str = "") -> str:
    tag = f"{name}:{digest or digest_of(context)}"
    base()
    with _one_at_a_time():
        if not exists(tag):
            build = docker_words("build", "--network", "host", "--quiet", "--label", f"{LABEL}={name}", "-t", tag)
            done = call([*build, *words, str(context)], timeout=BUILD_SECONDS)
            if done.returncode:
                raise LabError(f"{tag} can't be built:\n{(done.stdout + done.stderr)[-3000:]}")
    return tag


def _bootstrap() -> None:
    """What `debian:bookworm-slim` is, from Debian's mirror."""
    with tempfile.TemporaryDirectory(prefix="bd-lab-base-") as folder:
        root = Path(folder, "root")
        done = call(["debootstrap", "--variant=minbase", "bookworm", str(root), MIRROR], timeout=BUILD_SECONDS)
        if done.returncode:
            raise LabError(f"debootstrap can't make {BASE}:\n{(done.stdout + done.stderr)[-2000:]}")
        for name in NOT_NEEDED:
            shutil.rmtree(root / name, ignore_errors=True)
            (root / name).mkdir(parents=True)
        with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as tar:
            imported = subprocess.run(
                docker_words("import", "-", BASE), stdin=tar.stdout, capture_output=True, timeout=300, check=False
            )
        if imported.returncode:
            raise LabError(f"docker import: {imported.stderr.decode()}")


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two sessions on one machine build an image once."""
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
