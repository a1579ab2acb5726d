"""What a stack file may say. Frozen, unknown keys refused, every value of a semantic type.

Each field's description ends up in the generated JSON Schema (`schema/stack.schema.json`), where editors show it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from plan.catalog import Chain, EditionName, Group, Kind, Mode, Runtime, Updates
from plan.network import Address, Cidr, HostKey, Subnet, Url, WebUrl
from plan.semantic import (
    LEAST_CONNECTIONS,
    MOST_CONNECTIONS,
    Bytes,
    HostFolder,
    Image,
    MemoryLimit,
    Mirror,
    Number,
    Port,
    PortRange,
    Registry,
    Runnable,
    Secret,
    Thumbprint,
    parse_bytes,
)

PROJECT = "blockchain-dao"
"""The namespace of the stack files' keys: Pulumi's project name."""

ServiceName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=50)]
EnvKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
# What YAML takes for the end of a line or can't hold at all is no part of a line either.
OneLine = Annotated[
    str,
    StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]*$", max_length=4000),
]
# Docker's least share of a core, hostctl's least time.
Cpus = Annotated[float, Field(ge=0.01, le=1024, allow_inf_nan=False), Number]
Seconds = Annotated[float, Field(ge=0.1, le=3600, allow_inf_nan=False), Number]
Pause = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False), Number]
Connections = Annotated[int, Field(ge=LEAST_CONNECTIONS, le=MOST_CONNECTIONS), Number]
# Its successor waits for an edge that ends, and other runs for the host's lock.
Wait = Annotated[int, Field(ge=5, le=300), Number]
Cores = Annotated[float, Field(ge=0, le=1024, allow_inf_nan=False), Number]


class Strict(BaseModel):
    """The base of everything in a stack file."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)

    @model_validator(mode="before")
    @classmethod
    def _without_nothing(cls, given: object) -> object:
        """A key with nothing behind it is absent, where it may be: YAML reads it as null."""
        if not isinstance(given, dict):
            return given
        values, fields = cast("dict[str, Any]", given), cls.model_fields
        return {
            key: value
            for key, value in values.items()
            if value is not None or key not in fields or fields[key].is_required()
        }


class Amounts(Strict):
    """What something takes of its host, or leaves of it."""

    cpus: Cores = Field(default=0, description="CPU cores")
    memory: Bytes = Field(default=0, description="memory, for example 64MB")
    disk: Bytes = Field(default=0, description="disk, for example 2GB")


class Host(Strict):
    """The machine that a stack converges (P1-P3, P11)."""

    address: Address = Field(description="IP address or name; also where public services answer")
    cpus: Cpus = Field(description="CPU cores, for example 4")
    memory: Bytes = Field(description="memory, for example 8GB")
    disk: Bytes = Field(description="disk, for example 100GB")
    reserve: Amounts = Field(default_factory=Amounts, description="what the system itself and its daemons keep")
    user: OneLine = Field(default="root", description="SSH user")
    ssh_port: Port = Field(default=22, description="SSH port")
    host_key: HostKey | None = Field(
        default=None, description="the server's public host key (ssh-ed25519 AAAA…); pinned, no other is trusted"
    )
    root: OneLine | None = Field(
        default=None, description="folder of the layout; /opt/blockchain-services on a server, .local on a laptop"
    )
    subnet: Subnet | None = Field(default=None, description="fixed subnet of the services' network")
    install_docker: bool = Field(
        default=False, description="install Docker and compose from the server's packages when they are missing"
    )
    packages_mirror: WebUrl | None = Field(
        default=None,
        description="the only source of that install, for example https://mirrors.tencent.com/debian; apt only",
    )


class Placement(Strict):
    """What every container or process of ours has: a port, limits, and what runs."""

    port: Port = Field(description="the port that it listens on, for example 8401")
    memory: MemoryLimit | None = Field(default=None, description="memory limit; the stack's default otherwise")
    cpus: Cpus | None = Field(default=None, description="CPU limit in cores; the stack's default otherwise")
    disk: Bytes | None = Field(default=None, description="disk that it may fill; the stack's default otherwise")
    image: Image | None = Field(default=None, description="what runs instead of the stand-in (docker, compose)")
    image_from: Literal["registry", "push"] | None = Field(
        default=None, description="how a server gets the image: from its registry, or pushed from this machine's Docker"
    )
    public: bool | None = Field(default=None, description="answers from outside the host (D19)")
    open_to: tuple[Cidr, ...] | None = Field(default=None, description="who may reach it when public; all otherwise")
    env: dict[EnvKey, OneLine] = Field(default_factory=dict, description="settings of its own, none secret")


class Service(Placement):
    """One blockchain or DAO service."""

    own: bool = Field(default=False, description="a service of the team's own that the documents don't name")
    group: Group | None = Field(default=None, description="its group; the documents' otherwise")
    needs: tuple[ServiceName, ...] | None = Field(default=None, description="services that it needs (P5)")
    databases: tuple[ServiceName, ...] | None = Field(default=None, description="databases that it needs (P5)")
    chains: bool | None = Field(default=None, description="whether it gets the chains' settings")
    command: Annotated[tuple[OneLine, ...] | None, Runnable] = Field(
        default=None, min_length=1, description="what runs instead of the stand-in (process); {port} is replaced"
    )
    folder: OneLine | None = Field(
        default=None, description="the folder of its code: where the command runs, what is watched, what docker builds"
    )
    reload: bool | None = Field(default=None, description="restart on a code change; in development by default")
    debug_port: Port | None = Field(default=None, description="a debugger (debugpy) listens here, on loopback")
    health_timeout: Seconds = Field(default=30, description="seconds that it may take to become healthy")
    stop_grace: Seconds = Field(default=10, description="seconds to finish requests under way after SIGTERM")
    settle: Pause | None = Field(
        default=None, description="seconds that a new version must stay ready before it gets requests"
    )
    tls: Port | None = Field(
        default=None, description="the port on which it answers TLS from outside, and only so; needs edge.certificates"
    )


class EditionService(Placement):
    """One of an edition's four containers (E2)."""


class Edition(Strict):
    """An edition's four containers, by their documented names (E2)."""

    services: dict[ServiceName, EditionService] = Field(description="the three services and the shared one")


class Database(Strict):
    """A database that already runs and is reused (P1-P3, D16)."""

    port: Port = Field(description="the port that it listens on, for example 8401")
    ports: tuple[Port, ...] = Field(default=(), description="its other ports, for example Neo4j's 7687")
    kind: Kind | None = Field(default=None, description="what it is; by its name otherwise")
    host: Address | None = Field(default=None, description="where it is; the stack's host otherwise")
    user: OneLine | None = Field(default=None, description="who logs in; its password is in secrets")
    database: OneLine | None = Field(default=None, description="the database (or Redis index) to use")
    admin: OneLine | None = Field(
        default=None,
        description="an admin who makes user and database where they are missing; the password is secrets.NAME-admin",
    )
    container: OneLine | None = Field(
        default=None, description="its container's documented name, for example test-mysql"
    )
    when_missing: Literal["embedded", "fail"] = Field(
        default="fail", description="what happens when it doesn't answer: an embedded store (local only), or an error"
    )
    open_to: tuple[Cidr, ...] = Field(default=(), description="who may reach it from outside the host (D11)")
    cpus: Cores = Field(default=0, description="CPU cores that it takes")
    memory: Bytes = Field(default=0, description="memory that it takes")
    disk: Bytes = Field(default=0, description="disk that it takes")


class Existing(Strict):
    """A service that already runs on the host: reused, integrated with, or only known to be there (P2, P3, D20)."""

    ports: tuple[Port, ...] = Field(min_length=1, description="the ports that it owns")
    host: Address | None = Field(default=None, description="where it is; the stack's host otherwise")
    when_missing: Literal["notice", "fail"] = Field(
        default="notice", description="what happens when it doesn't answer: a notice, or an error"
    )
    cpus: Cores = Field(default=0, description="CPU cores that it takes")
    memory: Bytes = Field(default=0, description="memory that it takes")
    disk: Bytes = Field(default=0, description="disk that it takes")


class ChainSettings(Strict):
    """How a chain is reached. Its credentials are secrets, never here."""

    endpoint: Url = Field(description="URL of the chain's node or gateway")
    chain_id: OneLine = Field(description="the chain's id")


class ImagesLogin(Strict):
    """Who logs in to a registry. The password is a secret, never here."""

    server: Registry = Field(description="the registry, as its images name it, for example registry.example:5000")
    user: Annotated[OneLine, StringConstraints(min_length=1)] = Field(
        description="who logs in; the password is secrets.registry"
    )


class ImagesBuild(Strict):
    """How the images of our own are built: the stand-in's of image/, the edge's of edge/."""

    base: Image | None = Field(default=None, description="the base image; debian:bookworm-slim otherwise")
    pip_index: Url | None = Field(default=None, description="a package index near the host; pypi.org otherwise")
    network: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] | None = Field(
        default=None, description="the network while building, for example host; Docker's default otherwise"
    )


class Images(Strict):
    """How the images come to a server."""

    mirror: Mirror | None = Field(default=None, description="where a server gets Docker Hub's images first")
    login: ImagesLogin | None = Field(default=None, description="who logs in to the registry")
    stand_in: Literal["build", "push"] = Field(
        default="build", description="the stand-in's image and the edge's: built on the server, or here and pushed"
    )
    build: ImagesBuild = Field(default_factory=ImagesBuild, description="how these images are built")


class Edge(Strict):
    """What owns a server's documented ports with `updates: rolling`: HAProxy, in a container."""

    port: Port | None = Field(
        default=None, description="its own port, on loopback (/health, /metrics); the range's first + 19 otherwise"
    )
    image: Image | None = Field(default=None, description="its image (HAProxy and bash); built of edge/ otherwise")
    image_from: Literal["registry", "push"] | None = Field(
        default=None, description="how a server gets the image: from its registry, or pushed from this machine's Docker"
    )
    memory: MemoryLimit = Field(default=parse_bytes("32MB"), description="memory limit")
    cpus: Cpus = Field(default=0.2, description="CPU limit in cores")
    disk: Bytes = Field(default=parse_bytes("50MB"), description="disk that it may fill")
    max_connections: Connections | None = Field(
        default=None,
        description="connections from outside at one time, all services together; as its memory holds otherwise",
    )
    timeout: Wait = Field(
        default=60,
        description="seconds that a service may take to answer; after a reload connections last no longer than that",
    )
    certificates: HostFolder | None = Field(
        default=None, description="the server's folder with PEM files (chain and key), for services with tls"
    )
    acme_thumbprint: Thumbprint | None = Field(
        default=None, description="answers ACME's http-01 on port 80 for the account with this thumbprint"
    )


class Defaults(Strict):
    """What a service has that names nothing else: limits (D14), how it is updated."""

    cpus: Cpus = Field(default=0.1, description="CPU limit in cores")
    memory: MemoryLimit = Field(default=parse_bytes("64MB"), description="memory limit")
    disk: Bytes = Field(default=parse_bytes("200MB"), description="disk that it may fill")
    settle: Pause = Field(default=2, description="seconds that a new version must stay ready before it gets requests")


class Settings(Strict):
    """One stack file: an environment as it should be."""

    mode: Mode = Field(description="BLOCKCHAIN_MODE: development, integration or production")
    chains: tuple[Chain, ...] = Field(min_length=1, description="BLOCKCHAIN_CHAIN, in order, for example [huawei]")
    runtime: Runtime = Field(default="compose", description="process or docker on a laptop, compose on a server")
    updates: Updates = Field(
        default="rolling",
        description="rolling: the new container beside the old one, behind an edge; recreate: without one (compose)",
    )
    edge: Edge = Field(default_factory=Edge, description="what owns the documented ports with `updates: rolling`")
    range: PortRange = Field(description="the environment's ports, for example 8300-8399")
    monthly_cost_yuan: Annotated[int, Field(ge=0), Number] = Field(
        description="what blockchain adds a month, for example 50 (P11)"
    )
    host: Host = Field(description="the machine: its address, cpus, memory and disk")
    services: dict[ServiceName, Service] = Field(description="the environment's services, each with its port")
    databases: dict[ServiceName, Database] = Field(default_factory=dict, description="databases that are reused")
    existing: dict[ServiceName, Existing] = Field(default_factory=dict, description="what else runs on the host")
    editions: dict[EditionName, Edition] = Field(
        default_factory=dict[EditionName, Edition], description="the Tencent host's editions"
    )
    edition: EditionName | None = Field(default=None, description="the edition that runs; none otherwise")
    chain_settings: dict[Chain, ChainSettings] = Field(
        default_factory=dict[Chain, ChainSettings], description="per chain"
    )
    defaults: Defaults = Field(default_factory=Defaults, description="what services have that name nothing else")
    dao_group: bool = Field(default=True, description="whether the stack deploys the services of group dao (D10)")
    allow_stand_in: bool = Field(default=False, description="let stand-ins run in production (D13)")
    images: Images = Field(default_factory=Images, description="how the images come to a server")
    secrets: dict[ServiceName, Secret] = Field(
        default_factory=dict, description="passwords by the name of what they open: a database, a chain, the registry"
    )
