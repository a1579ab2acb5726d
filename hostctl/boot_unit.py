"""The systemd unit that puts the firewall back at boot, before Docker publishes anything (D11)."""

from __future__ import annotations

import os
import pkgutil
import subprocess
from pathlib import Path
from typing import List

from hostctl.errors import HostctlError
from hostctl.layout import Layout, read_text, remove, write_atomic

NAME = "blockchain-dao-firewall.service"
UNITS = Path("/etc/systemd/system")
RUNNING = Path("/run/systemd/system")
"""Is there where systemd runs this machine, and nowhere else (sd_booted)."""
_OURS = "# blockchain-dao: "
_LONGEST_SECONDS = 60.0


def has_systemd() -> bool:
    """Whether anything would start the unit at boot."""
    return RUNNING.is_dir()


def problem() -> str:
    """Why the unit can't be put there, before anything is touched ("" when it can)."""
    text = read_text(UNITS / NAME)
    if text is None or text.startswith(_OURS):
        return ""
    return "%s is somebody else's: move it away first" % (UNITS / NAME)


def text_for(layout: Layout) -> str:
    """The unit's text for this host."""
    template = pkgutil.get_data("hostctl", NAME + ".in")
    assert template is not None, "the template is packed with the modules"
    text = template.decode("utf-8")
    words = {"@ROOT@": str(layout.root), "@ROOT_FOLDER@": _quoted(str(layout.root))}
    # systemd replaces variables in command lines only.
    words["@HOSTCTL@"] = _quoted(str(layout.bin / "hostctl")).replace("$", "$$")
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def difference(layout: Layout) -> str:
    """How the unit isn't as it should be ("" when it is, or where there is no systemd)."""
    if not has_systemd():
        return ""
    found = read_text(UNITS / NAME)
    if found is None:
        return "%s is missing" % NAME
    if found != text_for(layout):
        return "%s was edited" % NAME
    return "" if os.path.lexists(str(_wanted())) else "%s is not enabled" % NAME


def install(layout: Layout) -> List[str]:
    """Puts the unit there and enables it; says so when it wasn't."""
    if not difference(layout):
        return []
    write_atomic(UNITS / NAME, text_for(layout), 0o644)
    _systemctl("daemon-reload")
    _systemctl("enable", NAME)
    return ["%s puts it back at boot" % NAME]


def uninstall(layout: Layout) -> List[str]:
    """Takes the unit away, if it is this host's."""
    found = read_text(UNITS / NAME)
    if found is None or not found.startswith("%swritten by hostctl of %s," % (_OURS, layout.root)):
        return []
    if has_systemd():
        _systemctl("disable", NAME)
    remove(_wanted())
    remove(UNITS / NAME)
    if has_systemd():
        _systemctl("daemon-reload")
    return ["%s removed" % NAME]


def _wanted() -> Path:
    return UNITS / "multi-user.target.wants" / NAME


def _quoted(path: str) -> str:
    """A path as systemd reads it: in quotes, with its own escapes doubled."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return '"%s"' % escaped


def _systemctl(*arguments: str) -> None:
    command = ["systemctl", "--quiet", *arguments]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            errors="surrogateescape",
            timeout=_LONGEST_SECONDS,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HostctlError("%s did not end within %d s" % (" ".join(command), _LONGEST_SECONDS)) from None
    except OSError as error:
        raise HostctlError("systemctl did not start: %s" % error.strerror) from None
    if done.returncode != 0:
        last = done.stdout.strip().splitlines()[-1:] or ["exit code %d" % done.returncode]
        raise HostctlError("%s failed: %s" % (" ".join(command), last[0]))
