"""The forms of definitions (docs/contracts.md, schema 1), once `definitions.py` has proved them sound."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, TypedDict, Union

from hostctl.assemble import Part
from hostctl.firewall_definition import Firewall


class Launch(TypedDict):
    """How a service's process is started."""

    argv: List[str]
    cwd: str
    env: Dict[str, str]
    image: str
    """What runs (runtime `compose`); empty with a process."""
    bind: str
    """The host's address on which the ports are published (runtime `compose`)."""
    resources: Dict[str, Any]


class Health(TypedDict):
    """When a service counts as healthy."""

    url: str
    timeout_seconds: float


class Stop(TypedDict):
    """How long it may take to end."""

    grace_seconds: float


class Registration(TypedDict):
    """Where a service is registered once it is healthy: a Consul agent of this host (P3)."""

    consul: str
    address: str
    """Where others reach the service; its port is the definition's."""
    tags: List[str]


class HostFile(TypedDict):
    """A file that is assembled on the host."""

    mode: str


class Behind(TypedDict):
    """A service that the edge forwards to: it is reached through the edge's ports, and updated without a loss."""

    address: str
    """The host's address on which its containers publish their own ports: the gateway of the services' network."""
    ports: List[int]
    """Two that follow each other: one for what serves, one for the new container beside it."""
    update: str
    """`rolling`: the new container beside the old one; `recreate`: there is no room for two."""
    ready: str
    """The path that answers 200 once it may get requests."""
    settle_seconds: float
    """How long it must stay so before it gets any."""


class Proxy(TypedDict):
    """The edge itself."""

    file: str
    """Its configuration, one of its own files."""
    sockets: str
    """The folder under ROOT in which its socket lies."""
    certificates: str
    """The host's folder of certificates; empty without TLS."""


class ServiceDefinition(TypedDict):
    """One service (kind `service`)."""

    schema: int
    kind: str
    name: str
    environment: str
    runtime: str
    digest: str
    launch: Launch
    secrets: List[str]
    ports: List[int]
    health: Health
    stop: Stop
    reload: List[str]
    register: Optional[Registration]
    edge: Optional[Behind]
    proxy: Optional[Proxy]
    files: Dict[str, HostFile]
    """Files that are there for as long as the service is; others may have parts in them."""
    parts: List[Part]


class ComposeSpec(TypedDict):
    """The documented compose file and the services' network (runtime `compose`)."""

    file: str
    network: str
    subnet: str
    gateway: str


class Prerequisites(TypedDict, total=False):
    """What may be installed where it is missing, from which mirror alone, and how many bytes of disk must be free."""

    install: bool
    mirror: str
    disk: int


class Integration(TypedDict):
    """Something that is somebody else's and has to answer (D20)."""

    host: str
    ports: List[int]
    when_missing: str


class HostDefinition(TypedDict):
    """The host itself (kind `host`)."""

    schema: int
    kind: str
    name: str
    environment: str
    runtime: str
    files: Dict[str, HostFile]
    parts: List[Part]
    supervisord: str
    reloader: List[str]
    compose: Optional[ComposeSpec]
    firewall: Optional[Firewall]
    integrations: Dict[str, Integration]
    prerequisites: Prerequisites


class DatabaseCheck(TypedDict):
    """The client that proves a login and a query."""

    argv: List[str]
    cwd: str
    input: Dict[str, Any]
    timeout_seconds: float


class DatabaseDefinition(TypedDict):
    """A database that is reused (kind `database`)."""

    schema: int
    kind: str
    name: str
    environment: str
    when_missing: str
    secret: bool
    """Whether the login has a password; one that still lies on the host is not used otherwise."""
    check: DatabaseCheck
    container: str
    """The documented name of the container that it runs in; empty when it has none."""
    ports: List[int]
    """The ports that this container has to publish."""
    parts: List[Part]


class Login(TypedDict):
    """Who logs in to a registry; the password is in `secrets/registry.env`."""

    server: str
    user: str


class ImageDefinition(TypedDict):
    """An image that comes from a registry (kind `image`)."""

    schema: int
    kind: str
    name: str
    image: str
    """What is pulled, with its digest where it is pinned."""
    run_as: str
    """The name by which containers know it."""
    mirror: str
    login: Optional[Login]


class ObserveInput(TypedDict):
    """What `observe` may be told: databases to check, and secrets that are not on the host yet."""

    databases: Dict[str, DatabaseDefinition]
    secrets: Dict[str, Dict[str, str]]
    containers: List[str]
    """Documented names: containers of them that aren't ours are told (D18)."""


AnyDefinition = Union[ServiceDefinition, HostDefinition, DatabaseDefinition]
