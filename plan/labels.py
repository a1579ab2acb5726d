"""Words of observed labels that both sides read: hostctl writes them, components read them (docs/contracts.md)."""

from __future__ import annotations

from hostctl.labels import NOT_YET, SEPARATOR, found

__all__ = ["NOT_YET", "SEPARATOR", "found"]
