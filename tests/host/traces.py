"""What is on a server beside containers: other people's rows, images, units, registrations, reach."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor

from hostctl.boot_unit import NAME, UNITS
from tests.lab.host import LabHost
from tests.lab.kinds import SERVICES

SHIM = "/usr/local/bin/docker-compose"
ROW = "kept through up and destroy"
_TABLE = f"CREATE TABLE kept (text varchar(99)); INSERT INTO kept VALUES ('{ROW}');"


def port_of(host: LabHost, name: str) -> int:
    return SERVICES[host.kind][name][0]


def sql(host: LabHost, name: str, statements: str, database: str = "") -> list[str]:
    """Statements on the server's own MariaDB or PostgreSQL as its administrator, over TCP; the lines of the answer."""
    user, _ = host.admins[name]
    port = port_of(host, name)
    command = {
        "mysql": f"mariadb --no-defaults -h 127.0.0.1 -P {port} -u {user} -BN {database}",
        "postgres": f"psql -qAtX -v ON_ERROR_STOP=1 -h 127.0.0.1 -p {port} -U {user} -d {database or 'postgres'}",
    }[name]
    variable = {"mysql": "MYSQL_PWD", "postgres": "PGPASSWORD"}[name]
    return host.run(f"export {variable}={host.admins[name][1]}; {command}", stdin=statements).splitlines()


def redis(host: LabHost, *words: str) -> str:
    """One command on the server's Redis as its administrator."""
    given = " ".join(words)
    login = f"REDISCLI_AUTH={host.admins['redis'][1]}"
    return host.run(f"{login} redis-cli --no-auth-warning -p {port_of(host, 'redis')} {given}").strip()


def put_rows(host: LabHost) -> None:
    """A row of somebody else's in each database, before anything of ours comes."""
    for name in ("mysql", "postgres"):
        sql(host, name, "CREATE DATABASE theirs;")
        sql(host, name, _TABLE, "theirs")
    redis(host, "SET", "theirs:kept", f"'{ROW}'")


def rows(host: LabHost) -> list[str]:
    """Those rows as they are now."""
    found = [line for name in ("mysql", "postgres") for line in sql(host, name, "SELECT text FROM kept;", "theirs")]
    return [*found, redis(host, "GET", "theirs:kept")]


def images(host: LabHost) -> set[str]:
    """Every image, by id and name."""
    return set(host.run("docker images -a --no-trunc --format '{{.ID}} {{.Repository}}:{{.Tag}}'").splitlines())


def registrations(host: LabHost) -> set[str]:
    """The services that Consul's agent knows; none where there is no Consul."""
    if "consul" not in SERVICES[host.kind]:
        return set()
    return set(json.loads(host.run("curl -sf http://127.0.0.1:8500/v1/agent/services")))


def unit_files(host: LabHost) -> set[str]:
    """The files of the unit that puts the firewall back at boot, and the links that start it."""
    return set(host.run(f"find {UNITS} -name {NAME}").split())


def has_shim(host: LabHost) -> bool:
    """Whether a docker-compose of ours stands in for the plugin."""
    return host.call(["test", "-e", SHIM]).returncode == 0


def reached(host: LabHost, *ports: int) -> dict[int, bool]:
    """Port -> whether somebody outside can connect. All at once: each that is closed says nothing until time is up."""

    def one(port: int) -> bool:
        try:
            socket.create_connection((host.address, port), timeout=3).close()
        except OSError:
            return False
        return True

    with ThreadPoolExecutor(max(1, len(ports))) as pool:
        return dict(zip(ports, pool.map(one, ports), strict=True))
