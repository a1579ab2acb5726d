"""Definitions as the control side renders them, for the tests of hostctl."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

HEADER = """\
[supervisord]
logfile=logs/supervisord.log
pidfile=run/supervisord.pid
childlogdir=logs
umask=077

[unix_http_server]
file=%(here)s/run/supervisor.sock
chmod=0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://%(here)s/run/supervisor.sock
"""

PROGRAM = """\

[program:{name}]
command=bin/hostctl launch {name} {digest}
autostart=true
autorestart=true
startsecs=1
startretries=3
stopsignal=TERM
stopwaitsecs={grace}
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile=logs/{name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""

RELOADER = """\

[program:reloader]
command=bin/hostctl launch-reloader
autostart=true
autorestart=true
redirect_stderr=true
stdout_logfile=logs/reloader.log
stdout_logfile_maxbytes=1MB
stdout_logfile_backups=1
"""

ENV_FILE = "blockchain-local.env"
CONF = "supervisord.conf"


def digest_of(
    launch: Mapping[str, Any], secrets: Sequence[str], health: Mapping[str, Any], stop: Mapping[str, Any]
) -> str:
    """The digest of a service's definition (docs/contracts.md), worked out a second time."""
    whole = {"launch": launch, "secrets": secrets, "health": health, "stop": stop}
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]


def host(supervisord: str = "/nowhere/supervisord", **changes: Any) -> dict[str, Any]:
    """A host's definition."""
    return {
        "schema": 1,
        "kind": "host",
        "name": "local",
        "environment": "local",
        "runtime": "process",
        "files": {CONF: {"mode": "0600"}, ENV_FILE: {"mode": "0644"}},
        "parts": [
            {"file": CONF, "order": 0, "text": HEADER},
            {"file": ENV_FILE, "order": 0, "text": f"# {ENV_FILE}\n"},
        ],
        "supervisord": supervisord,
    } | changes


def service(name: str = "identity-service", port: int = 8302, **changes: Any) -> dict[str, Any]:
    """A service's definition; `argv`, `env`, `timeout`, `grace`, `secrets` may be given, or whole keys."""
    launch = {
        "argv": changes.pop("argv", ["python3", "-m", "standin"]),
        "cwd": changes.pop("cwd", "."),
        "env": {"SERVICE_PORT": str(port)} | changes.pop("env", {}),
    }
    health = {"url": f"http://127.0.0.1:{port}/health", "timeout_seconds": changes.pop("timeout", 20)}
    stop = {"grace_seconds": changes.pop("grace", 3)}
    secrets = changes.pop("secrets", [])
    digest = digest_of(launch, secrets, health, stop)
    key = name.upper().replace("-", "_") + "_PORT"
    return {
        "schema": 1,
        "kind": "service",
        "name": name,
        "environment": "local",
        "runtime": "process",
        "digest": digest,
        "launch": launch,
        "secrets": secrets,
        "ports": [port],
        "health": health,
        "stop": stop,
        "reload": ["image"],
        "parts": [
            {"file": ENV_FILE, "order": 3, "text": f"{key}={port}\n"},
            {
                "file": CONF,
                "order": 100,
                "text": PROGRAM.format(name=name, digest=digest, grace=stop["grace_seconds"]),
            },
        ],
    } | changes


def behind(**changes: Any) -> dict[str, Any]:
    """A service's key `edge`."""
    return {
        "address": "172.28.84.1",
        "ports": [16804, 16805],
        "update": "rolling",
        "ready": "/ready",
        "settle_seconds": 2.0,
    } | changes


def container(image: str = "registry.example/identity:1.4.2", **changes: Any) -> dict[str, Any]:
    """A service's `launch` where it is a container."""
    return {"image": image, "bind": "172.28.84.1", "env": {"SERVICE_PORT": "8402"}, "resources": {}} | changes


def proxy(**changes: Any) -> dict[str, Any]:
    """The edge's key `proxy`."""
    return {"file": "edge/haproxy.cfg", "sockets": "run/edge", "certificates": ""} | changes


def database(name: str = "mysql", argv: list[str] | None = None, **changes: Any) -> dict[str, Any]:
    """A database's definition."""
    return {
        "schema": 1,
        "kind": "database",
        "name": name,
        "environment": "local",
        "when_missing": "embedded",
        "check": {
            "argv": argv or ["python3", "-m", "standin.dbcheck"],
            "cwd": ".",
            "input": {"kind": "mysql", "host": "127.0.0.1", "port": 9506, "user": "root", "database": ""},
            "timeout_seconds": 5,
        },
        "parts": [{"file": ENV_FILE, "order": 5, "text": f"BLOCKCHAIN_{name.upper()}_PORT=9506\n"}],
    } | changes


def raw(value: Any) -> bytes:
    """As it comes in on stdin."""
    return json.dumps(value).encode()
