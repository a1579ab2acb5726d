"""The one algorithm that makes a host's files out of definitions' parts.

`plan/render.py` imports it as well, so that the golden files are what a host gets (P7).
"""

from __future__ import annotations

from typing import Dict, Iterator, List, Mapping, Sequence, Tuple, TypedDict


class Part(TypedDict):
    """One definition's share of one file."""

    file: str
    order: int
    text: str


def assemble(contributions: Mapping[str, Sequence[Part]]) -> Dict[str, str]:
    """Owner's name -> its parts; gives file name -> text, files in the order of their names.

    A file is the concatenation of all its parts' texts sorted by `(order, owner)`; an owner's own
    parts of equal order keep the order in which it lists them.
    """
    collected: Dict[str, List[Tuple[int, str, int, str]]] = {}
    for owner, index, part in _walk(contributions):
        collected.setdefault(part["file"], []).append((part["order"], owner, index, part["text"]))
    return {
        file: "".join(text for _, _, _, text in sorted(collected[file], key=lambda entry: entry[:3]))
        for file in sorted(collected)
    }


def _walk(contributions: Mapping[str, Sequence[Part]]) -> Iterator[Tuple[str, int, Part]]:
    for owner, parts in contributions.items():
        for index, part in enumerate(parts):
            yield owner, index, part
