"""Sections of the edge's configuration whose owners' records are lost, while their containers run.

A host that lost `state/` gets its records back service by service, each with its own `up`. The edge comes first, and
what it assembled then would have nothing but its own part: every port would be closed until its service's turn. So it
goes on with what the file said of those that run and that nobody has on record, until they are.
"""

from __future__ import annotations

import re
from typing import Dict, List, Tuple

from hostctl.assemble import Part
from hostctl.console import say
from hostctl.context import Context
from hostctl.forms import ServiceDefinition
from hostctl.layout import Layout, read_json, read_text, remove, write_json

ORDER = 100
"""As each service's own section has it."""
_HEADING = re.compile(r"(?:listen|frontend|backend) ([a-z0-9-]+)(?:\.(\S+))?(?: from \S+)?\s*")
_OF_THE_EDGE = "tls"
"""Of a service, and in the edge's own part."""


def keep(context: Context, edge: ServiceDefinition) -> None:
    """Before an edge without a record comes up: the file that is there is of before the records were lost."""
    proxy = edge["proxy"]
    if proxy is None or context.store.record(edge["name"]) is not None:
        return
    text = read_text(context.layout.root / proxy["file"]) or ""
    running = {name for name, one in (context.runtime.processes() or {}).items() if one.state == "running"}
    kept = {
        name: section
        for name, section in sections(text).items()
        if name != edge["name"] and name in running and context.store.record(name) is None
    }
    if kept:
        say("%s: %s keep their ports until their own `up`: their records are lost" % (edge["name"], _names(kept)))
        write_json(context.layout.kept, {"file": proxy["file"], "sections": kept})


def claim(context: Context) -> None:
    """Forgets those that have a record by now: what is wanted of them is there."""
    found = read_json(context.layout.kept)
    if found is None:
        return
    left = {name: text for name, text in found["sections"].items() if context.store.record(name) is None}
    if not left:
        drop(context.layout)
    elif left != found["sections"]:
        write_json(context.layout.kept, {**found, "sections": left})


def drop(layout: Layout) -> None:
    """Nobody claimed them: their containers end, and so do their ports."""
    remove(layout.kept)


def parts(layout: Layout) -> Dict[str, List[Part]]:
    """What they add to the host's files, by name."""
    found = read_json(layout.kept)
    if found is None:
        return {}
    kept: Dict[str, str] = found["sections"]
    return {name: [{"file": found["file"], "order": ORDER, "text": text}] for name, text in kept.items()}


def sections(text: str) -> Dict[str, str]:
    """What an assembled configuration says of each service, byte for byte, with the empty line in front."""
    found: Dict[str, str] = {}
    for name, paragraph in _paragraphs(text):
        found[name] = found.get(name, "") + paragraph
    return found


def _paragraphs(text: str) -> List[Tuple[str, str]]:
    """Each heading's name with its lines and what stands directly before it; "" for headings of another kind."""
    found: List[Tuple[str, str]] = []
    before = ""
    for line in text.splitlines(keepends=True):
        if line.startswith((" ", "\t")) and found and not before:
            found[-1] = (found[-1][0], found[-1][1] + line)
        elif not line.strip() or line.startswith(("#", " ", "\t")):
            before += line
        else:
            heading = _HEADING.fullmatch(line)
            name = heading.group(1) if heading and heading.group(2) != _OF_THE_EDGE else ""
            found.append((name, before + line))
            before = ""
    return [one for one in found if one[0]]


def _names(kept: Dict[str, str]) -> str:
    return ", ".join(sorted(kept))
