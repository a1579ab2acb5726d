"""What compose made of each service that it was asked for."""

from __future__ import annotations

from typing import Optional

from hostctl.compose_containers import Seen
from hostctl.runtime import FAILED, RESTARTED, STARTED, UNCHANGED, Outcome, Target


def outcome_of(target: Target, before: Optional[Seen], now: Optional[Seen], reason: str) -> Outcome:
    """What compose made of one service; whether it is healthy is another question."""
    own = reasons_of(target.name, reason)
    if now is None or now.state == "created" or (target.digest and now.digest != target.digest):
        return Outcome(FAILED, own or reason or "docker-compose did not start it")
    if own or (reason and now.state != "running"):
        return Outcome(FAILED, own or reason)
    if before is None:
        return Outcome(STARTED)
    if before.id != now.id:
        return Outcome(RESTARTED)
    if before.state == "running":
        return Outcome(UNCHANGED if before.started == now.started else RESTARTED)
    return Outcome(STARTED)


def reasons_of(name: str, reason: str) -> str:
    """What compose said of one service."""
    return "; ".join(part for part in reason.split("; ") if name in part.split() or " %s:" % name in part)
