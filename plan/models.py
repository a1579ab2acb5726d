"""A plan: one environment as it should be, frozen, complete, and never secret."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from plan.catalog import EDGE, EDGE_IMAGE, STAND_IN_IMAGE, Chain, EditionName, Group, Kind, Mode, Runtime
from plan.problems import Notice
from plan.semantic import PortRange, repository

Runs = Literal["stand-in", "command", "folder", "image"]
ImageSource = Literal["registry", "push", "build"]
"""How a server gets an image: from its registry, from this machine's Docker, or built of a folder of ours there."""
DatabaseState = Literal["reused", "embedded"]
LOOPBACK = "127.0.0.1"
PAIRED = PortRange(512, 16383)
"""Ports that a service behind the edge may have: twice as much is free for all, and no connection's own."""
CONNECTIONS_OWN = PortRange(32768, 60999)
"""Ports that Linux gives to connections by itself: now and then one of these is taken."""
ACME_PORT = 80
"""Where ACME's http-01 asks."""


def pair_of(port: int) -> tuple[int, int]:
    """The two ports on which the edge finds a service of this one."""
    return 2 * port, 2 * port + 1


ADMIN_SECRET = "-admin"
"""What the name of an admin's secret ends with, behind its database's."""
SSHD = "sshd"
"""Who holds a server's SSH port."""
_SSH_NAMES = {SSHD, "ssh", "openssh", "ssh-server"}
"""Names under which a stack file may declare it itself."""


@dataclass(frozen=True, slots=True)
class Resources:
    """CPU cores, bytes of memory, bytes of disk."""

    cpus: float = 0
    memory: int = 0
    disk: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(self.cpus + other.cpus, self.memory + other.memory, self.disk + other.disk)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are on the host (P7). `root` may be relative to the project folder (laptop)."""

    root: str
    env_file: str
    compose_file: str


@dataclass(frozen=True, slots=True)
class HostPlan:
    """The machine, what it has, and what it keeps for itself."""

    address: str
    local: bool
    user: str
    ssh_port: int
    host_key: str | None
    subnet: str
    capacity: Resources
    reserve: Resources
    layout: Layout
    install_docker: bool = False
    """Whether a server without Docker gets it from its distribution's packages."""
    packages_mirror: str | None = None
    """The only source of that install, if any."""


@dataclass(frozen=True, slots=True)
class Need:
    """A service that another one needs, and where it answers."""

    name: str
    port: int
    url: str


@dataclass(frozen=True, slots=True)
class Behind:
    """Where the edge finds a service that it forwards to."""

    address: str
    """The gateway of the services' network, on which its containers publish their ports."""
    ports: tuple[int, int]
    """Of its two slots, `a` and `b`: a container has one of them."""
    rolling: bool
    """Whether an update starts the new container beside the old one; the host's memory may not hold both."""


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """One service, one container or process (P1-P3, E2)."""

    name: str
    key: str
    """The stack file's key that made it, for problems."""
    group: Group | EditionName
    port: int
    public: bool
    open_to: tuple[str, ...]
    needs: tuple[Need, ...]
    databases: tuple[str, ...]
    chains: bool
    resources: Resources
    runs: Runs
    image: str
    command: tuple[str, ...] | None
    folder: str | None
    env: tuple[tuple[str, str], ...]
    debug_port: int | None
    reload: bool
    health_timeout: float
    stop_grace: float
    edition: EditionName | None = None
    shared: bool = False
    reference: str = ""
    """The image as it is given, digest and all; `image` is the name under which containers run it."""
    image_from: ImageSource = "registry"
    image_from_given: bool = False
    image_given: bool = False
    reload_given: bool = False
    behind: Behind | None = None
    """None where it publishes its own port."""
    settle: float = 0
    """Seconds that a new version must stay ready before it gets requests."""
    tls: int | None = None
    """The port on which it answers TLS from outside, and only so."""

    @property
    def stand_in(self) -> bool:
        """Whether the stand-in serves in its place, also when the stack file names the stand-in's image (D13)."""
        ours = self.runs == "image" and repository(self.image) == repository(STAND_IN_IMAGE)
        return ours or self.runs == "stand-in"


@dataclass(frozen=True, slots=True)
class EdgePlan:
    """The proxy that owns the documented ports of the services behind it, so that updates lose no request."""

    image: str
    """The name under which its container runs it."""
    reference: str
    """The image as it is given, digest and all."""
    image_from: ImageSource
    port: int
    """On loopback: its own /health and /metrics."""
    resources: Resources
    max_connections: int
    """From outside at one time, all services together."""
    timeout: int
    """Seconds that a service may say nothing for; WebSockets last no longer than that after a reload."""
    certificates: str | None = None
    """The host's folder with the team's PEM files."""
    acme_thumbprint: str | None = None
    """Of the ACME account for which it answers challenges."""

    @property
    def all_connections(self) -> int:
        """At one time, with as many for calls within the host: nobody outside can take these."""
        return 2 * self.max_connections


@dataclass(frozen=True, slots=True)
class DatabasePlan:
    """A database that already runs and is reused."""

    name: str
    kind: Kind
    host: str
    local: bool
    """Whether it is on the stack's own host, so that its ports count there."""
    port: int
    ports: tuple[int, ...]
    user: str
    database: str
    container: str | None
    when_missing: Literal["embedded", "fail"]
    open_to: tuple[str, ...]
    has_password: bool
    resources: Resources
    kind_given: bool = True
    admin: str | None = None
    """Who makes the user and the database where they are missing; its password is the secret `NAME-admin`."""

    @property
    def admin_secret(self) -> str:
        """The name of the admin's secret, which no service ever gets."""
        return f"{self.name}{ADMIN_SECRET}"


@dataclass(frozen=True, slots=True)
class ExistingPlan:
    """A service that is somebody else's (D20)."""

    name: str
    ports: tuple[int, ...]
    resources: Resources
    host: str = LOOPBACK
    """Where it is asked, as the stack's host sees it."""
    local: bool = True
    """Whether it is on the stack's own host, so that its ports count there."""
    when_missing: Literal["notice", "fail"] = "notice"


@dataclass(frozen=True, slots=True)
class EditionPlan:
    """An edition's four containers (E2); at most one edition runs (E1)."""

    name: EditionName
    services: tuple[ServicePlan, ...]
    shared: ServicePlan

    @property
    def members(self) -> tuple[ServicePlan, ...]:
        return (*self.services, self.shared)


@dataclass(frozen=True, slots=True)
class ChainPlan:
    """How a chain is reached; its credential, if any, is a secret of the same name."""

    name: Chain
    endpoint: str | None
    chain_id: str | None
    has_credential: bool
    placeholder: bool = False
    """Whether the endpoint only stands where the real one belongs."""


@dataclass(frozen=True, slots=True)
class LoginPlan:
    """Who logs in to a registry; the password is the secret `registry`."""

    server: str
    user: str


@dataclass(frozen=True, slots=True)
class ImagesPlan:
    """How the images come to a server."""

    mirror: str | None = None
    """Where Docker Hub's are looked for first."""
    login: LoginPlan | None = None
    stand_in: str = STAND_IN_IMAGE
    """The stand-in's image; on servers its tag tells its sources."""
    stand_in_from: ImageSource = "build"
    """How the stand-in's comes to a server, and the edge's own."""
    edge: str = EDGE_IMAGE
    """The edge's own image; on servers its tag tells its sources."""
    base: str | None = None
    pip_index: str | None = None
    network: str | None = None


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """One image that a server needs."""

    name: str
    """Its name among the plan's images; the same for another version of it."""
    source: ImageSource
    reference: str
    """As it is given, digest and all."""
    run_as: str
    """The name under which containers run it."""
    digest: str
    """`sha256:…` where it is pinned: the registry's digest, the image's id where it is pushed. Empty otherwise."""
    keys: tuple[str, ...]
    """Of the services that run it."""
    folder: str | None = None
    """The project's folder that it is built of; None for what somebody else built."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A port that something holds on the host; `ours` when this stack starts it."""

    port: int
    owner: str
    key: str
    ours: bool
    paired: bool = False
    """Whether it follows from a service's port: one of the two on which the edge finds it."""


@dataclass(frozen=True, slots=True)
class EnvironmentPlan:
    """One environment as it should be: what `components` make real and `render` writes down."""

    name: str
    mode: Mode
    chains: tuple[ChainPlan, ...]
    runtime: Runtime
    range: PortRange
    monthly_cost_yuan: int
    host: HostPlan
    services: tuple[ServicePlan, ...]
    """In an order in which each comes after what it needs."""
    databases: tuple[DatabasePlan, ...]
    existing: tuple[ExistingPlan, ...]
    editions: tuple[EditionPlan, ...]
    edition: EditionName | None
    allow_stand_in: bool = False
    own_services: frozenset[str] = frozenset()
    services_off: frozenset[str] = frozenset()
    """Services of the stack file that belong to a group which is off (D10)."""
    images: ImagesPlan = ImagesPlan()
    edge: EdgePlan | None = None
    """None where services publish their own ports."""
    said: frozenset[str] = frozenset()
    """Keys about updates that are in the stack file: they would do nothing where there is no edge."""
    secret_names: tuple[str, ...] = ()
    chain_settings: tuple[str, ...] = ()
    notices: tuple[Notice, ...] = field(default=())

    @property
    def active_edition(self) -> EditionPlan | None:
        """The edition that runs, if any."""
        return next((edition for edition in self.editions if edition.name == self.edition), None)

    @property
    def running(self) -> tuple[ServicePlan, ...]:
        """Every service that this plan starts: the environment's and the active edition's."""
        active = self.active_edition
        return self.services + (active.members if active else ())

    @property
    def members(self) -> tuple[ServicePlan, ...]:
        """Every edition's services, also of those that are off: they come back."""
        # One without a port is missing from the stack file: a problem of its own.
        return tuple(member for edition in self.editions for member in edition.members if member.port)

    @property
    def placed(self) -> tuple[ServicePlan, ...]:
        """Every service that has its place on the host, whether or not its edition runs."""
        return self.services + self.members

    def beside(self, name: str) -> ExistingPlan | None:
        """What of that name runs on the stack's own host already."""
        return next((one for one in self.existing if one.name == name and one.local), None)

    def database(self, name: str) -> DatabasePlan:
        """The database of that name; KeyError when the plan has none."""
        for database in self.databases:
            if database.name == name:
                return database
        raise KeyError(name)

    def listeners(self) -> Iterator[Listener]:
        """Every port that is spoken for on the host, also by editions that are off: they come back."""
        declared = any(one.name in _SSH_NAMES and self.host.ssh_port in one.ports for one in self.existing)
        if not self.host.local and not declared:
            yield Listener(self.host.ssh_port, SSHD, "host.ssh_port", False)
        for service in self.services:
            yield Listener(service.port, service.name, f"{service.key}.port", True)
            if service.debug_port is not None:
                owner = f"the debugger of {service.name}"
                yield Listener(service.debug_port, owner, f"{service.key}.debug_port", True)
        yield from self._edge_listeners()
        for member in self.members:
            yield Listener(member.port, member.name, f"{member.key}.port", True)
        for database in self.databases:
            if database.local:
                key = f"databases.{database.name}"
                yield Listener(database.port, database.name, f"{key}.port", False)
                for port in database.ports:
                    yield Listener(port, database.name, f"{key}.ports", False)
        for existing in self.existing:
            for port in existing.ports if existing.local else ():
                yield Listener(port, existing.name, f"existing.{existing.name}.ports", False)

    def _edge_listeners(self) -> Iterator[Listener]:
        """What the edge binds beside the documented ports, and the pairs of the services behind it."""
        if self.edge is None:
            return
        yield Listener(self.edge.port, EDGE, "edge.port", True)
        for service in self.placed:
            # A port that is none for a service behind the edge is a problem of its own.
            if service.behind is not None and service.port in PAIRED:
                for port in service.behind.ports:
                    yield Listener(port, f"{service.name} behind the edge", f"{service.key}.port", True, paired=True)
            if service.tls is not None and service.tls != service.port:
                yield Listener(service.tls, service.name, f"{service.key}.tls", True)
        if self.edge.acme_thumbprint is not None:
            yield Listener(ACME_PORT, EDGE, "edge.acme_thumbprint", True)
