"""Sets `host_key` in a stack file's text and leaves every other byte as it is, comments included.

YAML is read to learn where things stand, never written. Whatever the edit made is read again, as both engines read
it: where anything but `host_key` differs, the edit is dropped. So a form of YAML that nobody thought of ends in a
refusal, not in a broken file.
"""

from __future__ import annotations

import contextlib
import copy
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from yaml.nodes import MappingNode, Node, ScalarNode

NAME = "host_key"
_KEYS = r"(?:ssh|ecdsa)-"
_PLAIN = (None, "'", '"')


class Unsure(Exception):
    """Where the line belongs can't be told with certainty; nothing was written."""


class Changed(Exception):
    """Somebody wrote the file meanwhile; nothing was written."""


def read(path: Path) -> tuple[str, dict[str, Any]]:
    """A stack file's text, line ends and all, and what it says. Raises UserError when it can't be read."""
    from standalone.errors import UserError
    from standalone.yamlfile import read_yaml

    said = read_yaml(path)
    try:
        return path.read_bytes().decode(), said
    except (OSError, UnicodeDecodeError) as bad:
        raise UserError(f"can't read {path}: {bad}") from None


def host_of(said: dict[str, Any], project: str) -> dict[str, Any] | None:
    """The map under `host` of what a stack file says; None when there is none."""
    config: object = said.get("config")
    if not isinstance(config, dict):
        return None
    for key, value in cast("dict[object, object]", config).items():
        if key in _names(project) and isinstance(value, dict):
            return cast("dict[str, Any]", value)
    return None


def write(path: Path, before: str, project: str, line: str) -> None:
    """Put `host_key: LINE` into the stack file that holds the text `before`.

    Raises Unsure and Changed with the file untouched. A kill leaves the old file or the new one.
    """
    path = path.resolve()
    temporary = path.with_name(f".{path.name}.new")
    try:
        if path.read_bytes() != before.encode():
            raise Changed
        wanted = _with_key(read(path)[1], project, line)
        for text in _edits(before, project, line):
            _store(temporary, text, path.stat().st_mode & 0o777)
            if _says(temporary, wanted):
                temporary.replace(path)
                return
        raise Unsure
    finally:
        temporary.unlink(missing_ok=True)


def _names(project: str) -> tuple[str, ...]:
    """The forms in which a stack file may write the key."""
    return (f"{project}:host", "host", f"{project}:config:host")


def _with_key(said: dict[str, Any], project: str, line: str) -> dict[str, Any]:
    wanted = copy.deepcopy(said)  # an alias stays one and the same map, as it would in the file
    host = host_of(wanted, project)
    if host is None:
        raise Unsure
    alone = copy.copy(host)
    alone[NAME] = line
    for key in _names(project):
        if wanted["config"].get(key) is host:
            wanted["config"][key] = alone
            break
    return wanted


def _store(path: Path, text: str, mode: int) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def _says(path: Path, wanted: dict[str, Any]) -> bool:
    from standalone.errors import UserError

    try:
        return _same(read(path)[1], wanted)
    except UserError:
        return False


def _same(one: Any, other: Any) -> bool:
    """Equal, and of the same types: 1, 1.0 and true are not the same to a stack file."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        maps = cast("dict[Any, Any]", one), cast("dict[Any, Any]", other)
        return maps[0].keys() == maps[1].keys() and all(_same(value, maps[1][key]) for key, value in maps[0].items())
    if isinstance(one, list):
        lists = cast("list[Any]", one), cast("list[Any]", other)
        return len(lists[0]) == len(lists[1]) and all(map(_same, *lists))
    return bool(one == other)


def _edits(text: str, project: str, line: str) -> Iterator[str]:
    """Texts that may be the one, the likeliest first."""
    import yaml

    # The pure Python reader: its marks count characters, whatever the text holds.
    with contextlib.suppress(yaml.YAMLError):
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        config = _entry(root, ("config",))
        found = _entry(config[1], _names(project)) if config else None
        if found is None:
            return
        key, host = found
        if not isinstance(host, yaml.MappingNode) or not host.value:
            return
        there = _entry(host, (NAME,))
        if there:
            yield from _replaced(text, *there, line)
        elif host.flow_style:
            yield from _into_flow(text, host, line)
        else:
            yield from _for_a_comment(text, key, host, line)
            yield from _into_block(text, host, line)


def _entry(node: Node | None, names: tuple[str, ...]) -> tuple[ScalarNode, Node] | None:
    """The key and the value of a map's entry of one of these names."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        for key, value in cast("list[tuple[Node, Node]]", node.value):
            if isinstance(key, yaml.ScalarNode) and key.value in names:
                return key, value
    return None


def _on_one_line(text: str, key: ScalarNode, value: Node) -> bool:
    """Whether `key: value` stands so, the value a plain or quoted text (or nothing) without an anchor or a tag."""
    import yaml

    start, end = value.start_mark.index, value.end_mark.index
    return (
        isinstance(value, yaml.ScalarNode)
        and value.style in _PLAIN
        and value.start_mark.line == value.end_mark.line
        and re.fullmatch(r"[ \t]*:[ \t]*", text[key.end_mark.index : start]) is not None
        and text[start:end][:1] not in ("&", "!", "*")
    )


def _replaced(text: str, key: ScalarNode, value: Node, line: str) -> Iterator[str]:
    if not _on_one_line(text, key, value):
        return
    start, end = value.start_mark.index, value.end_mark.index
    quote = text[start] if start < end and text[start] in "'\"" else ""
    gap = " " if start == end else ""  # nothing stood there: the mark is right behind the colon
    yield f"{text[:start]}{gap}{quote}{line}{quote}{text[end:]}"


def _for_a_comment(text: str, key: ScalarNode, host: MappingNode, line: str) -> Iterator[str]:
    """In the place of the line `# host_key: ssh-…` that waits for it."""
    indent = " " * host.value[0][0].start_mark.column
    waiting = re.compile(rf"^{indent}#+[ \t]*{NAME}:[ \t]+['\"]?{_KEYS}[^\r\n]*", re.MULTILINE)
    for match in waiting.finditer(text, key.end_mark.index, host.end_mark.index):
        yield f"{text[: match.start()]}{indent}{NAME}: {line}{text[match.end() :]}"


def _into_block(text: str, host: MappingNode, line: str) -> Iterator[str]:
    """A line of its own: behind the address's, else before the first."""
    first = host.value[0][0].start_mark
    start = first.index - first.column
    indent = text[start : first.index]
    if indent.strip(" "):
        return
    own = f"{indent}{NAME}: {line}"
    address = _entry(host, ("address",))
    if address and _on_one_line(text, *address):
        end = text.find("\n", address[1].end_mark.index)
        if end < 0:
            yield f"{text}{_line_end(text)}{own}"
        else:
            yield f"{text[: end + 1]}{own}{_line_end(text[: end + 1])}{text[end + 1 :]}"
    yield f"{text[:start]}{own}{_line_end(text)}{text[start:]}"


def _line_end(text: str) -> str:
    """How its last line that ends does so."""
    end = text.rfind("\n")
    return "\r\n" if end > 0 and text[end - 1] == "\r" else "\n"


def _into_flow(text: str, host: MappingNode, line: str) -> Iterator[str]:
    """Between the braces, quoted as the keys there are."""
    quote = '"' if text[host.value[0][0].start_mark.index] == '"' else ""
    own = f"{quote}{NAME}{quote}: {quote}{line}{quote}"
    address = _entry(host, ("address",))
    if address and _on_one_line(text, *address):
        end = address[1].end_mark.index
        yield f"{text[:end]}, {own}{text[end:]}"
    brace = host.start_mark.index
    if text[brace] == "{":
        yield f"{text[: brace + 1]}{own}, {text[brace + 1 :]}"
