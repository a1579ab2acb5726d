"""Words of observed labels that both sides read (docs/contracts.md, "Observed labels")."""

from __future__ import annotations

NOT_YET = "not converged yet"
"""Behind what a check says: nobody has remembered it on this host yet. The time when it was asked follows."""
SEPARATOR = "; "


def found(label: str) -> str:
    """What the check itself said, without the words that stand behind it; empty where nothing was checked."""
    return "" if label.startswith(NOT_YET) else label.split(SEPARATOR + NOT_YET, maxsplit=1)[0]
