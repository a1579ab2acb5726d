"""Paths of definitions: relative ones are relative to BASE."""

from __future__ import annotations

import os


def under(base: str, path: str) -> str:
    """A path made absolute without resolving links: a virtual environment's python is one."""
    return os.path.join(base, path)


def program(base: str, name: str) -> str:
    """A program: a path is relative to BASE, a bare name is looked up on PATH."""
    return under(base, name) if "/" in name else name


def placed(text: str, root: str, base: str) -> str:
    """Replaces the placeholders {root} and {base}."""
    return text.replace("{root}", root).replace("{base}", base)
