"""Words of observed labels that both sides read (docs/contracts.md, "Observed labels")."""

from __future__ import annotations

NOT_YET = "not converged yet"
"""Behind what a check says: nobody has remembered it on this host yet. The time when it was asked follows."""
SEPARATOR = "; "


def found(label: str) -> str:
    """What the check itself said, without the words that stand behind it; empty where nothing was checked."""
    return "" if label.startswith(NOT_YET) else label.split(SEPARATOR + NOT_YET, maxsplit=1)[0]


def label_of(reason: str, generation: int, adopted: str) -> str:
    """What to answer: the adopted label while nothing differs, else the reason, in words that stay the same."""
    if not reason:
        return adopted
    label = "%s (after generation %d)" % (reason, generation)
    # A difference must never look like the label that was adopted when it was there the last time.
    return label if label != adopted else label + " again"
