"""The host's assembled files: what they should say, and putting it there (P7)."""

from __future__ import annotations

from typing import Dict, List, Mapping, Optional, Sequence

from hostctl.assemble import Part, assemble
from hostctl.context import Context, HostRecord
from hostctl.definitions import require_files
from hostctl.errors import BadInput
from hostctl.forms import ServiceDefinition
from hostctl.layout import read_text, remove, write_atomic


def contributions(context: Context, services: Mapping[str, ServiceDefinition]) -> Dict[str, List[Part]]:
    """Everybody's parts by their owner's name: the host's, the databases' and these services'."""
    host = context.host()["definition"]
    found: Dict[str, List[Part]] = {host["name"]: list(host["parts"])}
    for name, database in context.databases().items():
        found.setdefault(name, []).extend(database["definition"]["parts"])
    for name, service in services.items():
        found.setdefault(name, []).extend(service["parts"])
    return found


def expected(context: Context, services: Optional[Mapping[str, ServiceDefinition]] = None) -> Dict[str, str]:
    """The text of each of the host's files, with these services or those that should be there now."""
    wanted = context.store.wanted() if services is None else services
    texts = assemble(contributions(context, wanted))
    return {name: texts.get(name, "") for name in sorted(context.host()["definition"]["files"])}


def present(context: Context) -> Dict[str, Optional[str]]:
    """The text of each of the host's files as it is."""
    names = sorted(context.host()["definition"]["files"])
    return {name: read_text(context.layout.root / name) for name in names}


def put(context: Context, texts: Mapping[str, Optional[str]]) -> None:
    """Replaces those files that differ, each in one step."""
    host = context.host()["definition"]
    for name, text in texts.items():
        path = context.layout.root / name
        if text is None:
            remove(path)
            continue
        mode = int(host["files"][name]["mode"], 8)
        if read_text(path) != text or path.stat().st_mode & 0o777 != mode:
            write_atomic(path, text, mode)


def render(context: Context) -> None:
    """Puts the files there as they should be now."""
    put(context, expected(context))


def require_fitting(context: Context, host: HostRecord, kind: str, name: str, parts: Sequence[Part]) -> None:
    """A part must be for a file that the host has, and its owner's name must be its own."""
    require_files(host["definition"], parts)
    others = {"host": [host["definition"]["name"]], "service": context.store.names()}
    others["database"] = list(context.databases())
    for other, names in others.items():
        if other != kind and name in names:
            raise BadInput("%s is the name of a %s here already" % (name, other))


def contains(text: str, part: str) -> bool:
    """Whether a part is in a text, starting at a line's start: PORT=83 is not in PORT=8302."""
    return not part or text.startswith(part) or "\n" + part in text
