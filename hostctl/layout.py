"""The folders of a host, their modes, and writes that are there whole or not at all (P7)."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, Dict, List, Optional

from hostctl.errors import HostctlError

# Modes matter here: state and secrets are nobody else's, run holds the socket that commands supervisord.
FOLDERS: Dict[str, int] = {
    "bin": 0o755,
    "lib": 0o755,
    "state": 0o700,
    "secrets": 0o700,
    "run": 0o700,
    "logs": 0o755,
    "data": 0o755,
}
STATE_FOLDERS = ("queue", "services", "generations", "definitions", "databases", "running")


class Layout:
    """Where everything of one host lies under its ROOT."""

    def __init__(self, root: str) -> None:
        self.root = Path(os.path.abspath(root))
        self.bin = self.root / "bin"
        self.lib = self.root / "lib"
        self.state = self.root / "state"
        self.secrets = self.root / "secrets"
        self.run = self.root / "run"
        self.logs = self.root / "logs"
        self.data = self.root / "data"
        self.lock = self.state / "lock"
        self.queue = self.state / "queue"
        self.services = self.state / "services"
        self.generations = self.state / "generations"
        self.definitions = self.state / "definitions"
        self.databases = self.state / "databases"
        self.running = self.state / "running"
        self.host = self.state / "host.json"
        self.supervisord = self.state / "supervisord.json"
        self.firewall = self.state / "firewall.json"
        self.audit = self.state / "audit.log"
        self.files = self.state / "files.json"
        self.kept = self.state / "kept.json"
        self.secret_records = self.state / "secrets"
        self.adopted = self.state / "adopted.json"
        self.supervisord_conf = self.root / "supervisord.conf"
        self.socket = self.run / "supervisor.sock"
        self.pidfile = self.run / "supervisord.pid"

    def log(self, name: str) -> Path:
        """The log of one service (the documented folder)."""
        return self.logs / (name + ".log")

    def secret_file(self, name: str) -> Path:
        """The secrets of one owner."""
        return self.secrets / (name + ".env")

    def secret_record(self, name: str) -> Path:
        """How an owner's secret files were left."""
        return self.secret_records / (name + ".json")

    def container_secrets(self, name: str) -> Path:
        """The same secrets as the compose file's `env_file:` names them."""
        return self.secrets / (name + ".compose.env")

    def is_ours(self) -> bool:
        """Whether hostctl was ever at work here, also where its records are gone."""
        return (self.bin / "hostctl").exists() or self.audit.exists() or any(self.lib.glob("hostctl-*.pyz"))

    def own_files(self) -> List[Path]:
        """What hostctl has put into `bin`, `lib`, `run` and `secrets`, those half-written too."""
        ours = {
            self.bin: ("hostctl", ".hostctl.tmp-*"),
            self.lib: ("hostctl-*.pyz", ".hostctl-*.pyz.tmp-*"),
            self.run: ("supervisor.sock", "supervisord.pid", "edge/stats.sock*"),
            self.secrets: ("*.env", ".*.env.tmp-*"),
        }
        return [path for folder, names in ours.items() for name in names for path in folder.glob(name)]

    def make(self) -> None:
        """Makes the folders and puts their modes right."""
        self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
        for name, mode in FOLDERS.items():
            make_folder(self.root / name, mode)
        for name in STATE_FOLDERS:
            make_folder(self.state / name, 0o700)

    def wrong_mode(self) -> Optional[str]:
        """The first private folder that others may enter, or that is gone."""
        for name, mode in FOLDERS.items():
            try:
                found = stat.S_IMODE(os.stat(str(self.root / name)).st_mode)
            except OSError:
                return "%s/ is missing" % name
            if mode == 0o700 and found & 0o077:
                return "%s/ is open to others" % name
        return None


def make_folder(path: Path, mode: int) -> None:
    """A folder of exactly this mode, whatever the umask."""
    path.mkdir(mode=mode, exist_ok=True)
    if stat.S_IMODE(path.stat().st_mode) != mode:
        path.chmod(mode)


def write_atomic(
    path: Path, text: str, mode: int = 0o600, durable: bool = True, temporary_in: Optional[Path] = None
) -> None:
    """Replaces a file in one step; with `durable` it is on the disk before anyone can see it.

    While it is written it lies beside it, or in another folder of the same file system.
    """
    temporary = (temporary_in or path.parent) / (".%s.tmp-%d" % (path.name, os.getpid()))
    try:
        descriptor = os.open(str(temporary), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            os.fchmod(descriptor, mode)
            stream.write(text)
            stream.flush()
            if durable:
                os.fsync(descriptor)
        os.replace(str(temporary), str(path))
    except BaseException:
        remove(temporary)
        raise
    if durable:
        sync_folder(path.parent)


def write_json(path: Path, value: Any, durable: bool = True) -> None:
    """A private JSON file."""
    write_atomic(path, json.dumps(value, sort_keys=True) + "\n", 0o600, durable)


def read_text(path: Path) -> Optional[str]:
    """The file's text, byte for byte, or None when there is none."""
    try:
        with open(str(path), encoding="utf-8", errors="surrogateescape", newline="") as stream:
            return stream.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_json(path: Path) -> Any:
    """The file's value, or None when there is none."""
    text = read_text(path)
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise HostctlError("%s is damaged (%s): restore it or remove it" % (path, error)) from None


def file_identity(layout: Layout, owner: str) -> Optional[List[int]]:
    """Changes whenever a secret file is written; says nothing about what is in it."""
    return identity_of(layout.secret_file(owner))


def identity_of(path: Path) -> Optional[List[int]]:
    """Changes whenever a file is written; None when there is none."""
    try:
        found = os.stat(str(path))
    except OSError:
        return None
    return [found.st_ino, found.st_mtime_ns, found.st_size]


def remove(path: Path) -> bool:
    """Removes a file if it is there."""
    try:
        path.unlink()
        return True
    except (FileNotFoundError, NotADirectoryError):
        return False


def sync_folder(path: Path) -> None:
    """Makes a rename in this folder last through a power cut."""
    descriptor = os.open(str(path), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some file systems refuse to sync folders; the rename itself stands
    finally:
        os.close(descriptor)
