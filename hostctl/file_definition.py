"""The key `files` of a definition: which files it brings to ROOT, and what they may be called."""

from __future__ import annotations

import re
from typing import Any, Dict, Iterable, List, cast

from hostctl import schema

# Nothing hidden, so never one of our temporary files; never `..`, so never outside ROOT.
_WORD = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"
FILE = re.compile(_WORD)
FILE_OR_IN_FOLDER = re.compile(r"(%s/)?%s" % (_WORD, _WORD))
MODE = re.compile(r"0[0-7]{3}")
OUR_FOLDERS = ("bin", "lib", "state", "secrets", "logs", "data", "run")

name = schema.text(FILE_OR_IN_FOLDER, "a file's name has at most one folder in it, such as edge/haproxy.cfg")
"""A file that a part is for."""


def _names(value: Any, where: str, problems: List[str]) -> None:
    files = cast("Dict[str, Any]", value)
    for file in sorted(files):
        folder = file.split("/")[0]
        # Some file systems (a Mac's) take State for state.
        if folder.lower() in OUR_FOLDERS:
            problems.append("%s.%s is the name of one of our folders (%s)" % (where, file, folder.lower()))
    for file in in_the_way(files):
        problems.append("%s.%s is a file, and another one's folder" % (where, file))


def in_the_way(files: Iterable[str]) -> List[str]:
    """Those of some files whose name is the folder of another one."""
    names = set(files)
    return sorted(names & {name.split("/")[0] for name in names if "/" in name})


check = schema.then(
    schema.mapping(name, schema.record({"mode": schema.text(MODE, "a mode is 4 octal digits such as 0644")})),
    _names,
)
"""Adds what is wrong with such a key: a form, a name that is ours, a file where another one needs a folder."""
