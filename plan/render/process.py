"""The runtime `process`: supervisord's file, and what is launched (P1)."""

from __future__ import annotations

import math

from plan.models import EnvironmentPlan, ServicePlan

SUPERVISOR_FILE = "supervisord.conf"
PYTHON = ".venv/bin/python"
SUPERVISORD = ".venv/bin/supervisord"
STAND_IN_FOLDER = "image"
INTERPRETERS = ("python", "python3")
"""Commands that mean the project's own Python, which has the debugger."""

HEADER = """\
; Written by blockchain-dao (hostctl): what is edited here is overwritten by the next `up`.
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

RELOADER_NAME = "reloader"
RELOADER = f"""\

[program:{RELOADER_NAME}]
command=bin/hostctl launch-reloader
autostart=true
autorestart=true
redirect_stderr=true
stdout_logfile=logs/{RELOADER_NAME}.log
stdout_logfile_maxbytes=1MB
stdout_logfile_backups=1
"""
RELOADER_ARGV = [PYTHON, "-m", "devloop"]


def program(service: ServicePlan, digest: str) -> str:
    """The block of one service; it changes when, and only when, what is launched changes."""
    # Whole seconds only: supervisord refuses its whole file otherwise.
    return PROGRAM.format(name=service.name, digest=digest, grace=math.ceil(service.stop_grace))


def command_of(service: ServicePlan) -> tuple[list[str], str]:
    """What is launched for a service, and in which folder (both may be relative to the project)."""
    if service.command is None:
        start = [PYTHON, "-m", "standin"]
        if service.debug_port is not None:
            start = [PYTHON, "-m", "debugpy", "--listen", f"127.0.0.1:{service.debug_port}", "-m", "standin"]
        return start, STAND_IN_FOLDER
    start = [part.replace("{port}", str(service.port)) for part in service.command]
    if start[0] in INTERPRETERS:
        start[0] = PYTHON
        if service.debug_port is not None:
            start[1:1] = ["-m", "debugpy", "--listen", f"127.0.0.1:{service.debug_port}"]
    return start, service.folder or "."


def watched(plan: EnvironmentPlan, service: ServicePlan) -> list[str]:
    """The folders whose change restarts the service; none unless it reloads."""
    if not service.reload or plan.runtime != "process":
        return []
    if service.command is None:
        return [STAND_IN_FOLDER]
    return [service.folder] if service.folder else []
