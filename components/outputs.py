"""Outputs, put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pulumi


def together(parts: Mapping[str, pulumi.Output[Any]]) -> pulumi.Output[dict[str, Any]]:
    """One output of many, by name. `Output.all` of no names gives a list; this is always a map."""
    if not parts:
        return pulumi.Output.from_input(cast("dict[str, Any]", {}))
    return pulumi.Output.all(**parts)
