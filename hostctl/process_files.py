"""What must hold in the parts of `supervisord.conf`, checked by reading them as supervisord does (P1).

Everything is relative to ROOT, supervisord's working directory, but for the socket: see `supervisord.py`.
"""

from __future__ import annotations

import configparser
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from hostctl.assemble import Part
from hostctl.forms import HostDefinition, ServiceDefinition

FILE = "supervisord.conf"
RELOADER = "reloader"
HEADER: Dict[str, Dict[str, str]] = {
    "supervisord": {
        "logfile": "logs/supervisord.log",
        "pidfile": "run/supervisord.pid",
        "childlogdir": "logs",
    },
    "unix_http_server": {"file": "%(here)s/run/supervisor.sock"},
    "rpcinterface:supervisor": {
        "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface",
    },
}


def text_of(parts: Sequence[Part]) -> str:
    """The text that these parts put into supervisord.conf."""
    return "".join(part["text"] for part in parts if part["file"] == FILE)


def own_settings(definition: HostDefinition) -> str:
    """The settings for which supervisord itself would have to be restarted: all but programs."""
    parser, problem = _read(text_of(definition["parts"]))
    if parser is None:
        return problem
    sections = [name for name in sorted(parser.sections()) if not name.startswith("program:")]
    return "".join("[%s]%r\n" % (name, sorted(parser.items(name))) for name in sections)


def header_problems(definition: HostDefinition) -> List[str]:
    """What is wrong with the host's own parts."""
    parser, problem = _read(text_of(definition["parts"]))
    if parser is None:
        return [problem]
    problems = [text for section, wanted in HEADER.items() for text in _differences(parser, section, wanted)]
    if parser.has_option("supervisord", "directory"):
        problems.append("[supervisord] must not set a directory: it is started in ROOT")
    if parser.get("supervisord", "nodaemon", fallback="false") != "false":
        problems.append("[supervisord] must not set nodaemon: it has to outlive us")
    if not definition["supervisord"]:
        problems.append("supervisord is missing: the path of the program")
    if FILE not in definition["files"]:
        problems.append("files has no %s" % FILE)
    return problems + _reloader_problems(definition, parser)


def block_problems(definition: ServiceDefinition) -> List[str]:
    """What is wrong with a service's program block."""
    name = definition["name"]
    text = text_of(definition["parts"])
    parser, problem = _read(text)
    if parser is None:
        return [problem]
    section = "program:" + name
    if parser.sections() != [section] or text.count("[%s]" % section) != 1:
        return ["its part of %s must be one block, [%s]" % (FILE, section)]
    problems = _differences(
        parser,
        section,
        {
            "command": "bin/hostctl launch %s %s" % (name, definition["digest"]),
            "stdout_logfile": "logs/%s.log" % name,
            "redirect_stderr": "true",
            "autostart": "true",
        },
    )
    if not definition["launch"]["argv"]:
        problems.append("launch.argv is missing")
    for option in ("directory", "numprocs", "process_name", "user"):
        if parser.has_option(section, option):
            problems.append("[%s] must not set %s" % (section, option))
    if not text.endswith("\n"):
        problems.append("[%s] must end with a line feed" % section)
    return problems


def whole_problem(text: str) -> Optional[str]:
    """Why supervisord would not read the assembled file, as far as can be told without it."""
    parser, problem = _read(text)
    if parser is None:
        return problem
    if parser.has_section("include"):
        return "%s must not include other files" % FILE
    known = {"here": "", "host_node_name": "", "program_name": "", "group_name": "", "process_num": 0}
    for section in parser.sections():
        for key, value in parser.items(section):
            problem = _expansion_problem(value, known)
            if problem:
                return "[%s] %s=%s can't be expanded (%s)" % (section, key, value, problem)
    return None


def _reloader_problems(definition: HostDefinition, parser: configparser.RawConfigParser) -> List[str]:
    programs = [name for name in parser.sections() if name.startswith("program:")]
    section = "program:" + RELOADER
    if not definition["reloader"]:
        return ["[%s] is not the host's" % name for name in programs]
    if programs != [section]:
        return ["with a reloader, its parts of %s must hold the block [%s] and no other" % (FILE, section)]
    wanted = {"command": "bin/hostctl launch-reloader", "stdout_logfile": "logs/%s.log" % RELOADER}
    return _differences(parser, section, wanted)


def _differences(parser: configparser.RawConfigParser, section: str, wanted: Mapping[str, str]) -> List[str]:
    return [
        "[%s] must say %s=%s" % (section, key, value)
        for key, value in wanted.items()
        if not parser.has_section(section) or parser.get(section, key, fallback=None) != value
    ]


def _expansion_problem(value: str, known: Mapping[str, object]) -> str:
    try:
        _ = value % known
    except (KeyError, ValueError, TypeError) as error:
        return str(error)
    return ""


def _read(text: str) -> Tuple[Optional[configparser.RawConfigParser], str]:
    # The same options as supervisord's own parser, or we would accept what it refuses.
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        return None, "%s: %s" % (FILE, str(error).replace("\n", " "))
    return parser, ""
