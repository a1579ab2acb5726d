"""The environment that the service gets (contracts.md, "What a service may rely on") as one frozen value.

`load()` finds everything that is wrong at once and says for each variable what would be right; no message
repeats a value of a `…_PASSWORD`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit

from standin.databases import KINDS, Target, bad_target

Mode = Literal["development", "integration", "production"]
Had = Literal["reused", "embedded"]

MODES = ("development", "integration", "production")
#: How a database is had, as SERVICE_DATABASES says it. One that the stack provisions is used like a reused
#: one.
_HAD: dict[str, Had] = {"reused": "reused", "provisioned": "reused", "embedded": "embedded"}
#: The usual ports of the documents (P2), for a database whose `_PORT` is not set.
_USUAL_PORTS = {"mysql": 3306, "mariadb": 3306, "redis": 6379, "postgres": 5432, "neo4j": 7474}
#: For tests of updates: a version that never becomes ready, and one that does and crashes.
NEVER_READY = "STAND_IN_NEVER_READY"
CRASH = "STAND_IN_CRASH_AFTER_READY_SECONDS"
#: The service whose records are exported and imported (E2, E4).
SHARED_SUFFIX = "-shared-service"

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MAX_SECONDS = 3600.0


class SettingsError(Exception):
    """The environment can't be used. `problems` has one line for each thing that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Database:
    """A database that the service needs: reused (`target` says where) or embedded (`target` is None)."""

    name: str
    had: Had
    target: Target | None


@dataclass(frozen=True, slots=True)
class NeededService:
    """A service whose `/health` must answer before this one is ready (P5)."""

    name: str
    url: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Settings:
    """Who the service is and what it needs. Times are in seconds."""

    name: str
    port: int
    bind: str
    environment: str
    mode: Mode
    chains: tuple[str, ...]
    needs: tuple[NeededService, ...]
    databases: tuple[Database, ...]
    data: Path | None
    startup_seconds: float
    stop_seconds: int
    never_ready: bool
    #: None: it doesn't crash.
    crash_seconds: float | None

    @property
    def is_shared(self) -> bool:
        """Whether it stands in for an edition's shared service, which keeps records."""
        return self.name.endswith(SHARED_SUFFIX)

    @property
    def needs_data(self) -> bool:
        """Whether it writes files of its own."""
        return self.is_shared or any(database.had == "embedded" for database in self.databases)


class _Reader:
    """Reads variables and collects what is wrong with them instead of stopping at the first."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def text(self, key: str, default: str = "") -> str:
        """The value without surrounding blanks; an empty one counts as not set."""
        return self._environ.get(key, "").strip() or default

    def problem(self, key: str, wrong: str, right: str) -> None:
        """Notes that `key` is `wrong`, and what would be `right`."""
        self.problems.append(f"{key}: {wrong}; {right}")

    def port(self, key: str, default: int | None = None) -> int:
        """A port number; without one and without a default a problem, and 0."""
        value = self.text(key)
        if not value and default is not None:
            return default
        if value.isascii() and value.isdecimal() and 1 <= int(value) <= 65535:
            return int(value)
        self.problem(key, f"{value!r} is no port" if value else "is not set", "it is a number from 1 to 65535")
        return 0

    def seconds(self, key: str, default: float) -> float:
        """A time in seconds."""
        value = self.text(key)
        if not value:
            return default
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        if 0 <= seconds <= _MAX_SECONDS:
            return seconds
        self.problem(key, f"{value!r} is no time", f"it is a number of seconds from 0 to {_MAX_SECONDS:.0f}")
        return default

    def flag(self, key: str) -> bool:
        """`1` or, which is the same as not set, `0`."""
        value = self.text(key, "0")
        if value not in ("0", "1"):
            self.problem(key, f"{value!r} is neither", "it is 1 or 0")
        return value == "1"

    def name(self, key: str, value: str, what: str) -> str:
        """A name as services and environments have them."""
        if not _NAME.fullmatch(value):
            wrong = f"{value!r} is no {what}" if value else "is not set"
            self.problem(key, wrong, "it is made of a-z, 0-9 and inner hyphens, at most 63 characters")
        return value

    def pairs(self, key: str, form: str) -> list[tuple[str, str]]:
        """The parts of `a=b,c=d`; `form` is what one part looks like."""
        pairs: list[tuple[str, str]] = []
        for part in filter(None, (part.strip() for part in self.text(key).split(","))):
            name, equals, value = part.partition("=")
            if not (name and equals and value):
                self.problem(key, f"{part!r} is not understood", f"a part looks like {form}")
            elif any(name == known for known, _ in pairs):
                self.problem(key, f"{name!r} is there twice", "each name once")
            else:
                pairs.append((name, value))
        return pairs


def load(environ: Mapping[str, str]) -> Settings:
    """The settings in `environ` (normally `os.environ`). Raises `SettingsError` with all problems."""
    reader = _Reader(environ)
    settings = Settings(
        name=reader.name("SERVICE_NAME", reader.text("SERVICE_NAME"), "service's name"),
        port=_service_port(reader),
        bind=reader.text("SERVICE_BIND", "127.0.0.1"),
        environment=reader.name("SERVICE_ENVIRONMENT", reader.text("SERVICE_ENVIRONMENT", "local"), "name"),
        mode=_mode(reader),
        chains=_chains(reader),
        needs=_needs(reader),
        databases=_databases(reader),
        data=Path(reader.text("SERVICE_DATA")) if reader.text("SERVICE_DATA") else None,
        startup_seconds=reader.seconds("STAND_IN_STARTUP_SECONDS", 0.0),
        stop_seconds=int(reader.seconds("STAND_IN_STOP_SECONDS", 9.0)),
        never_ready=reader.flag(NEVER_READY),
        crash_seconds=reader.seconds(CRASH, 0.0) if reader.text(CRASH) else None,
    )
    if settings.needs_data and settings.data is None:
        why = "keeps its records there" if settings.is_shared else "keeps its embedded databases there"
        reader.problem("SERVICE_DATA", "is not set", f"the service {why}: name a folder")
    if reader.problems:
        raise SettingsError(reader.problems)
    return settings


def _service_port(reader: _Reader) -> int:
    """SERVICE_PORT, or PORT, which says the same."""
    own, plain = reader.text("SERVICE_PORT"), reader.text("PORT")
    if own and plain and own != plain:
        reader.problem("PORT", f"{plain!r} differs from SERVICE_PORT {own!r}", "both are the port to listen on")
    return reader.port("PORT" if plain and not own else "SERVICE_PORT")


def _mode(reader: _Reader) -> Mode:
    value = reader.text("BLOCKCHAIN_MODE", "development")
    if value not in MODES:
        reader.problem("BLOCKCHAIN_MODE", f"{value!r} is unknown", f"it is one of {', '.join(MODES)}")
    return cast(Mode, value)


def _chains(reader: _Reader) -> tuple[str, ...]:
    parts = reader.text("BLOCKCHAIN_CHAIN", "simulation").split(",")
    return tuple(reader.name("BLOCKCHAIN_CHAIN", part.strip(), "chain's name") for part in parts)


def _needs(reader: _Reader) -> tuple[NeededService, ...]:
    needs: list[NeededService] = []
    for name, url in reader.pairs("SERVICE_NEEDS", "identity-service=http://127.0.0.1:8302"):
        reader.name("SERVICE_NEEDS", name, "service's name")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or 80
            plain = parts.scheme == "http" and host and "@" not in parts.netloc and parts.path in ("", "/")
        except ValueError:  # a port that is no number
            plain, host, port = False, "", 0
        if not plain:
            reader.problem("SERVICE_NEEDS", f"the address of {name!r} is not understood", "it is http://HOST:PORT")
        needs.append(NeededService(name, f"http://{host}:{port}", host, port))
    return tuple(needs)


def _databases(reader: _Reader) -> tuple[Database, ...]:
    databases: list[Database] = []
    for name, value in reader.pairs("SERVICE_DATABASES", "mysql=reused"):
        had = _HAD.get(value)
        if name not in KINDS:
            reader.problem("SERVICE_DATABASES", f"{name!r} is unknown", f"known: {', '.join(KINDS)}")
        elif had is None:
            reader.problem("SERVICE_DATABASES", f"{name}={value!r} is unknown", f"it is one of {', '.join(_HAD)}")
        else:
            databases.append(Database(name, had, _target(reader, name) if had == "reused" else None))
    return tuple(databases)


def _target(reader: _Reader, name: str) -> Target:
    prefix = f"BLOCKCHAIN_{name.upper()}_"
    target = Target(
        kind=name,
        host=reader.text(prefix + "HOST", "127.0.0.1"),
        port=reader.port(prefix + "PORT", _USUAL_PORTS[name]),
        user=reader.text(prefix + "USER"),
        password=reader.text(prefix + "PASSWORD"),
        database=reader.text(prefix + "DATABASE"),
    )
    wrong = bad_target(target)
    if wrong is not None and target.port:  # a bad port is said already
        reader.problem(prefix + "DATABASE", wrong, "see contracts.md")
    return target
