"""Whether a service could be started as things are on this host."""

from __future__ import annotations

import os
import shutil
from typing import Any, Mapping

from hostctl.environment import outside_environment
from hostctl.paths import placed, program, under


def launch_problem(root: str, base: str, launch: Mapping[str, Any]) -> str:
    """Why this could not be started as things are; empty when it could.

    Asked before what runs is stopped for it.
    """
    if not launch["argv"]:
        return ""  # a container
    folder = under(base, placed(launch["cwd"], root, base))
    if not os.path.isdir(folder):
        return "its folder %s is not there" % folder
    name = program(base, placed(launch["argv"][0], root, base))
    if shutil.which(name, path=outside_environment().get("PATH", os.defpath)) is None:
        return "its program %s is not there, or can't be run" % name
    return ""
