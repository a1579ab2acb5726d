"""Which servers there are: what runs on each beside our services, by the documents (P2, P3)."""

from __future__ import annotations

#: Name -> ports. MariaDB, PostgreSQL and Redis are real, the rest are stand-ins (server/standins.py).
SERVICES: dict[str, dict[str, list[int]]] = {
    "tencent": {
        "mysql": [3306],
        "postgres": [5432],
        "redis": [6379],
        "neo4j": [7474, 7687],
        "elasticsearch": [9200],
        "weaviate": [8080],
        "dao-resume": [9502],
        "dao-job": [7531],
        "dao-governance-api": [9503],
        "dao-ai": [8206],
    },
    "alibaba": {
        "mysql": [9507],
        "postgres": [5432],
        "redis": [6379],
        "ai": [8206],
        "consul": [8300, 8500, 8600],
        "zervigo": [8080],
        "prometheus": [9514],
        "grafana": [9515],
    },
    # Neither Docker nor databases, but a mirror of Debian that has Docker (http://127.0.0.1:8099/debian).
    "bare": {"mirror": [8099]},
}

#: Kind -> target of server/Dockerfile.
IMAGES = {"tencent": "server", "alibaba": "server", "bare": "bare"}

#: The administrators of the databases: (user, password). Known, because tests give them to stacks.
ADMINS = {
    "mysql": ("root", "lab-mysql-Adm1n-7f"),
    "postgres": ("postgres", "lab-postgres-Adm1n-2c"),
    "redis": ("default", "lab-redis-Adm1n-9e"),
    "neo4j": ("neo4j", "lab-neo4j-Adm1n-4b"),
}
