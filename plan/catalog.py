"""The nouns that the two documents name: services, groups, databases, editions, env keys, dependencies.

What differs between environments (ports, addresses, sizes) is in the stack files, never here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from plan.semantic import PortRange

Group = Literal["core", "infrastructure", "storage", "security", "dao"]
Mode = Literal["development", "integration", "production"]
Chain = Literal["simulation", "huawei", "ethereum"]
Runtime = Literal["process", "docker", "compose"]
Updates = Literal["rolling", "recreate"]
EditionName = Literal["future", "dao", "blockchain"]
Kind = Literal["mysql", "redis", "postgres", "neo4j", "elasticsearch", "weaviate"]

STAND_IN_IMAGE: Final = "blockchain-dao/stand-in:0.1.0"
"""What runs while a service's real image doesn't exist (D13); the tag is `image/VERSION`."""
EDGE: Final = "edge"
"""The name of what owns a server's documented ports with `updates: rolling`: no service's."""
EDGE_GROUP: Final[Group] = "infrastructure"
EDGE_IMAGE: Final = "blockchain-dao/edge:0.1.0"
"""What it runs unless the stack file names an image; the tag is `edge/VERSION`."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the documents say of a service in every environment (P1-P3, P5, D19)."""

    group: Group
    needs: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    chains: bool = False


SERVICES: Final[dict[str, Known]] = {
    "blockchain-service": Known("core", needs=("identity-service", "governance-service"), chains=True),
    "identity-service": Known("core", databases=("mysql", "redis")),
    "governance-service": Known("core", databases=("mysql", "redis")),
    "crosschain-service": Known("core", needs=("blockchain-service",), chains=True),
    "blockchain-gateway": Known("infrastructure"),
    "blockchain-monitor": Known("infrastructure"),
    "blockchain-config": Known("infrastructure"),
    "blockchain-storage": Known("storage"),
    "blockchain-cache": Known("storage"),
    "blockchain-auth": Known("security"),
    "blockchain-encrypt": Known("security"),
    "blockchain-security": Known("security"),
    "blockchain-audit": Known("security"),
    "dao-governance": Known("dao"),
    "dao-voting": Known("dao"),
    "dao-proposal": Known("dao"),
    "dao-reward": Known("dao"),
}

DATABASE_KINDS: Final[dict[str, Kind]] = {
    "mysql": "mysql",
    "redis": "redis",
    "postgres": "postgres",
    "neo4j": "neo4j",
    "elasticsearch": "elasticsearch",
    "weaviate": "weaviate",
}

OWN_NAME: Final = "blockchain"
"""The user and the database that an admin makes where the stack file names no others."""
SETUP_KINDS: Final[tuple[Kind, ...]] = ("mysql", "postgres", "redis")
"""Kinds in which an admin can make them."""
SYSTEM_DATABASES: Final[dict[Kind, frozenset[str]]] = {
    "mysql": frozenset({"mysql", "information_schema", "performance_schema", "sys"}),
    "postgres": frozenset({"postgres", "template0", "template1"}),
    "redis": frozenset(),
}
SYSTEM_USERS: Final[dict[Kind, frozenset[str]]] = {
    "mysql": frozenset({"root", "mysql.sys", "mysql.session", "mysql.infoschema", "mariadb.sys"}),
    "postgres": frozenset({"postgres", "public", "none"}),
    "redis": frozenset({"default"}),
}
"""Names that are the server's own: a service's user or database can't be one of them."""

SUB_RANGES: Final[dict[str, dict[Group, tuple[int, int]]]] = {
    "local": {"core": (0, 9), "infrastructure": (10, 19)},
    "tencent": {"core": (0, 9), "infrastructure": (10, 19), "storage": (20, 29), "security": (30, 39)},
    "alibaba": {"core": (0, 9), "infrastructure": (10, 19), "storage": (10, 19), "security": (10, 19)},
}
"""Offsets into the environment's range that belong to a group (P10)."""

KEPT_EMPTY: Final[dict[str, PortRange]] = {"local": PortRange(8320, 8329), "alibaba": PortRange(8520, 8529)}
"""Sub-ranges that stay empty, because what belongs there is reused elsewhere (P10)."""

RANGES: Final[dict[str, PortRange]] = {
    "local": PortRange(8300, 8399),
    "tencent": PortRange(8400, 8499),
    "alibaba": PortRange(8500, 8599),
}
"""The environments' documented ranges (P6)."""

DAO_RANGE: Final = PortRange(9500, 9599)
RESERVED: Final[tuple[tuple[PortRange, str], ...]] = (
    (DAO_RANGE, "the DAO services"),
    (PortRange(8080, 8099), "existing microservices"),
    (PortRange(8200, 8299), "existing microservices"),
    (PortRange(3306, 3306), "MySQL"),
    (PortRange(5432, 5432), "PostgreSQL"),
    (PortRange(6379, 6379), "Redis"),
    (PortRange(7474, 7474), "Neo4j"),
    (PortRange(8500, 8500), "Consul"),
)
"""Ports that the documents say are taken, on every host (P6)."""

CONSUL: Final = "consul"
CONSUL_HTTP: Final = 8500
"""The port of Consul's HTTP API, unless only others are listed."""
PROMETHEUS: Final = "prometheus"
CONSUL_DEFAULTS: Final[tuple[int, ...]] = (8300, 8301, 8302, 8500, 8600)
"""What Consul takes where it runs, whether the stack file lists it or not (D8)."""
CONSUL_NEWER: Final = 8503
"""Consul's gRPC TLS port in newer versions; alibaba's governance-service needs it (D8)."""

DOCUMENTED_ENV_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "local": (
        "BLOCKCHAIN_SERVICE_PORT",
        "IDENTITY_SERVICE_PORT",
        "GOVERNANCE_SERVICE_PORT",
        "CROSSCHAIN_SERVICE_PORT",
        "BLOCKCHAIN_MYSQL_PORT",
        "BLOCKCHAIN_REDIS_PORT",
        "BLOCKCHAIN_MODE",
        "BLOCKCHAIN_CHAIN",
    ),
    "tencent": (
        "BLOCKCHAIN_SERVICE_PORT",
        "IDENTITY_SERVICE_PORT",
        "GOVERNANCE_SERVICE_PORT",
        "CROSSCHAIN_SERVICE_PORT",
        "BLOCKCHAIN_GATEWAY_PORT",
        "BLOCKCHAIN_MONITOR_PORT",
        "BLOCKCHAIN_CONFIG_PORT",
        "BLOCKCHAIN_MYSQL_PORT",
        "BLOCKCHAIN_REDIS_PORT",
        "BLOCKCHAIN_POSTGRES_PORT",
        "BLOCKCHAIN_MODE",
        "BLOCKCHAIN_CHAIN",
    ),
    "alibaba": (
        "BLOCKCHAIN_SERVICE_PORT",
        "IDENTITY_SERVICE_PORT",
        "GOVERNANCE_SERVICE_PORT",
        "CROSSCHAIN_SERVICE_PORT",
        "BLOCKCHAIN_STORAGE_PORT",
        "BLOCKCHAIN_CACHE_PORT",
        "BLOCKCHAIN_SECURITY_PORT",
        "BLOCKCHAIN_AUDIT_PORT",
        "BLOCKCHAIN_MYSQL_PORT",
        "BLOCKCHAIN_REDIS_PORT",
        "BLOCKCHAIN_POSTGRES_PORT",
        "BLOCKCHAIN_MODE",
        "BLOCKCHAIN_CHAIN",
    ),
}
"""The keys of each documented env file, in its order (P4)."""

ENV_KEY_DATABASES: Final = ("mysql", "redis", "postgres", "neo4j")
"""Databases that have a key in the env files: Elasticsearch and Weaviate belong to the editions alone."""

MONTHLY_COSTS_YUAN: Final[dict[str, int]] = {"local": 0, "tencent": 50, "alibaba": 100}
ORIGINAL_COST_YUAN: Final = 300
"""What the three environments were to cost a month before; half of it is left (P9)."""

PUBLIC: Final[dict[str, frozenset[str]]] = {
    "local": frozenset(),
    "tencent": frozenset({"blockchain-gateway"}),
    "alibaba": frozenset({"blockchain-service", "identity-service", "governance-service", "crosschain-service"}),
}
"""Services that answer from outside unless the stack file says otherwise (D19)."""


@dataclass(frozen=True, slots=True)
class EditionRanges:
    """Where an edition's containers may listen (E2): its three services, and its shared service."""

    services: dict[str, PortRange]
    shared: PortRange


EDITIONS: Final[dict[EditionName, EditionRanges]] = {
    "future": EditionRanges({f"future-service-{n}": PortRange(8000, 8099) for n in (1, 2, 3)}, PortRange(8100, 8199)),
    "dao": EditionRanges(
        {
            "dao-service-1": PortRange(8200, 8299),
            "dao-service-2": PortRange(8200, 8299),
            "dao-service-3": PortRange(8300, 8399),
        },
        PortRange(8400, 8499),
    ),
    "blockchain": EditionRanges(
        {
            "blockchain-service-1": PortRange(9000, 9099),
            "blockchain-service-2": PortRange(9000, 9099),
            "blockchain-service-3": PortRange(9100, 9199),
        },
        PortRange(9200, 9299),
    ),
}


def shared_service(edition: str) -> str:
    """The documented name of an edition's shared service (E2)."""
    return f"{edition}-shared-service"


def edition_database(edition: str) -> str:
    """The documented name of an edition's MySQL database (E4, D24)."""
    return f"{edition}_users"


def env_key(name: str) -> str:
    """The documented key of a service's port: `identity-service` -> `IDENTITY_SERVICE_PORT` (P4)."""
    return name.upper().replace("-", "_") + "_PORT"


def database_prefix(name: str) -> str:
    """The documented prefix of a database's keys: `mysql` -> `BLOCKCHAIN_MYSQL` (P4)."""
    return "BLOCKCHAIN_" + name.upper().replace("-", "_")


def chain_prefix(name: str) -> str:
    """The prefix of a chain's settings: `huawei` -> `BLOCKCHAIN_HUAWEI`."""
    return "BLOCKCHAIN_" + name.upper()
