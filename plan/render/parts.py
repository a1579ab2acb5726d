"""What all definitions are made of: their parts, and the digest of what is launched and judged."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from hostctl.assemble import Part
from plan.models import Resources

Definition = dict[str, Any]
"""JSON of docs/contracts.md, schema 1."""

SCHEMA = 1
BLOCKS = 100
"""The order of each service's share of a file, behind the file's top."""


def part(file: str, order: int, text: str) -> Part:
    """One definition's share of one file."""
    return {"file": file, "order": order, "text": text}


def amounts(resources: Resources) -> Definition:
    """A container's limits."""
    return {"cpus": resources.cpus, "memory": resources.memory}


def digest(judged: Definition, block: str = "") -> str:
    """Of what is launched and judged: another one means another start.

    Of what is replaced without a loss also all of its `block`, without a digest in it: what compose would make another
    container for must be told there, or compose stops the one that serves for that.
    """
    whole = {**judged, "block": block} if block else judged
    # ASCII and all, as contracts.md has it.
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
