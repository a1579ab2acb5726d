"""The host's assembled files: what they should say, and putting it there (P7).

They are those of the host's definition and those that the wanted services bring (`files` of their definitions).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Set

from hostctl import edge_kept, file_definition
from hostctl.assemble import Part, assemble
from hostctl.context import Context, HostRecord
from hostctl.errors import BadInput
from hostctl.forms import HostDefinition, ServiceDefinition
from hostctl.layout import Layout, make_folder, read_json, read_text, remove, write_atomic, write_json

FOLDER_MODE = 0o755
Services = Mapping[str, ServiceDefinition]


def contributions(context: Context, services: Services) -> Dict[str, List[Part]]:
    """Everybody's parts by their owner's name: the host's, the databases' and these services'."""
    host = context.host()["definition"]
    found: Dict[str, List[Part]] = {host["name"]: list(host["parts"])}
    for name, database in context.databases().items():
        found.setdefault(name, []).extend(database["definition"]["parts"])
    for name, service in services.items():
        found.setdefault(name, []).extend(service["parts"])
    for name, kept in edge_kept.parts(context.layout).items():
        found.setdefault(name, kept)  # whoever is on record says it himself
    return found


def expected(context: Context, services: Optional[Services] = None) -> Dict[str, str]:
    """The text of each of the host's files, with these services or those that should be there now.

    A part for a file of a service that isn't among them is in none.
    """
    wanted = context.store.wanted() if services is None else services
    texts = assemble(contributions(context, wanted))
    return {name: texts.get(name, "") for name in sorted(_modes(context, wanted))}


def present(context: Context) -> Dict[str, Optional[str]]:
    """The text of each of the host's files as it is, those included that are there and should go."""
    found = {name: read_text(context.layout.root / name) for name in _modes(context, context.store.wanted())}
    for name in brought(context.layout) - set(found):
        text = read_text(context.layout.root / name)
        if text is not None:
            found[name] = text
    return dict(sorted(found.items()))


def put(context: Context, texts: Mapping[str, Optional[str]]) -> None:
    """Replaces those files that differ, each in one step; None takes one away, and its folder when that is empty."""
    layout = context.layout
    modes = _modes(context, context.store.wanted())
    if not set(texts) <= set(modes):  # what a change that is taken back has dropped
        modes = {**_modes(context, _good(context)), **modes}
    gone = {name for name, text in texts.items() if text is None or name not in modes}  # or nobody's any more
    own = set(texts) - gone - set(context.host()["definition"]["files"])
    # On record before they are there: what a killed run leaves must be known to the next one.
    known = brought(layout) | own
    _note(layout, known)
    for name, text in texts.items():
        path = layout.root / name
        if text is None or name in gone:
            take_away(layout, name)
            continue
        mode = int(modes[name], 8)
        if read_text(path) != text or path.stat().st_mode & 0o777 != mode:
            if path.parent != layout.root:
                make_folder(path.parent, FOLDER_MODE)
            # Half-written ones lie in ROOT, where the next run finds them.
            write_atomic(path, text, mode, temporary_in=layout.root)
    _note(layout, known - gone)


def render(context: Context) -> None:
    """Puts the files there as they should be now, and takes those away whose service is gone."""
    texts: Dict[str, Optional[str]] = dict(expected(context))
    texts.update({name: None for name in brought(context.layout) if name not in texts})
    put(context, texts)


def take_away(layout: Layout, name: str) -> bool:
    """Removes one of the files if it is there, and its folder when nothing else is in it."""
    path = layout.root / name
    gone = remove(path)
    if path.parent != layout.root:
        with suppress(OSError):
            path.parent.rmdir()
    return gone


def take_all_away(context: Context) -> None:
    """Removes every one of them (`remove-host`)."""
    for name in {*_modes(context, context.store.wanted()), *brought(context.layout)}:
        take_away(context.layout, name)


def brought(layout: Layout) -> Set[str]:
    """The files that services brought and that may be there, whoever was killed in between (`state/files.json`)."""
    return set(read_json(layout.files) or [])


def require_fitting(context: Context, host: HostRecord, kind: str, name: str, parts: Sequence[Part]) -> None:
    """Its owner's name must be its own, and each part of a database be for a file that the host has."""
    problems = _name_problems(context, host, kind, name)
    if kind != "service":
        services = context.store.wanted()
        problems += _part_problems(parts, _modes(context, services), services)
    _refuse(problems)


def require_service(context: Context, host: HostRecord, definition: ServiceDefinition) -> None:
    """The same for a service: its own files must be nobody else's, and each part be for a file that is here."""
    name = definition["name"]
    others = {other: one for other, one in context.store.wanted().items() if other != name}
    problems = _name_problems(context, host, "service", name)
    for file in sorted(definition["files"]):
        if file in host["definition"]["files"]:
            problems.append("files.%s is a file of the host's own" % file)
        problems += ["files.%s is brought by %s already" % (file, other) for other in _bringers(others, file)]
    here = _modes(context, {**others, name: definition})
    problems += ["files.%s is a file, and another one's folder" % one for one in file_definition.in_the_way(here)]
    _refuse(problems + _part_problems(definition["parts"], here, others))


def require_host(context: Context, definition: HostDefinition) -> None:
    """A host's own file must be none that a service brings."""
    services = context.store.wanted()
    _refuse(
        "the host's definition: files.%s is brought by the service %s here" % (file, name)
        for file in sorted(definition["files"])
        for name in _bringers(services, file)
    )


def contains(text: str, part: str) -> bool:
    """Whether a part is in a text, starting at a line's start: PORT=83 is not in PORT=8302."""
    return not part or text.startswith(part) or "\n" + part in text


def _modes(context: Context, services: Services) -> Dict[str, str]:
    """The mode of each file that there is with these services."""
    found = {file: entry["mode"] for service in services.values() for file, entry in service["files"].items()}
    found.update({file: entry["mode"] for file, entry in context.host()["definition"]["files"].items()})
    return found


def _good(context: Context) -> Services:
    found = {name: context.store.good(name) for name in context.store.names()}
    return {name: definition for name, definition in found.items() if definition is not None}


def _note(layout: Layout, names: Set[str]) -> None:
    if names == brought(layout):
        return
    if names:
        write_json(layout.files, sorted(names))
    else:
        remove(layout.files)


def _name_problems(context: Context, host: HostRecord, kind: str, name: str) -> List[str]:
    others = {"host": [host["definition"]["name"]], "service": context.store.names()}
    others["database"] = list(context.databases())
    return [
        "%s is the name of a %s here already" % (name, other)
        for other, names in others.items()
        if other != kind and name in names
    ]


def _part_problems(parts: Sequence[Part], here: Iterable[str], services: Services) -> List[str]:
    known = ", ".join(sorted(here)) or "none"
    problems: List[str] = []
    for file in sorted({part["file"] for part in parts} - set(here)):
        problem = "a part is for the file %r, but the host's files are: %s" % (file, known)
        folder, slash, _ = file.partition("/")
        if slash and folder not in services:
            problem += "; the service %s brings it and is not here: bring that up first" % folder
        problems.append(problem)
    return problems


def _bringers(services: Services, file: str) -> List[str]:
    return sorted(name for name, service in services.items() if file in service["files"])


def _refuse(problems: Iterable[str]) -> None:
    found = list(problems)
    if found:
        raise BadInput("; ".join(found))
