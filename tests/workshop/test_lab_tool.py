"""What `make lab` prints is enough to bring a stack there."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from plan.checks.safety import refusals
from tests.lab.kinds import ADMINS
from tests.plan.stacks import HOST_KEY, PREFIX, plan_of, put
from tests.workshop.conftest import REAL
from tools import lab as tool


def printed(kind: str) -> str:
    host: Any = SimpleNamespace(kind=kind, address="10.213.7.10", user="root", local_port=4022, host_key=HOST_KEY)
    host.keys, host.admins = SimpleNamespace(path=REAL / "build/lab/make/key"), ADMINS
    return tool.about(host)


@pytest.mark.parametrize("kind", tool.KINDS)
def test_the_printed_lines_make_a_stack_that_nothing_refuses(kind: str) -> None:
    lines = re.findall(r"^ {16}(\S+: .*)$", printed(kind), re.MULTILINE)
    said: dict[str, Any] = yaml.safe_load("\n".join(lines))
    beside = {key.removeprefix(PREFIX): value for key, value in said.items() if key.startswith(PREFIX)}
    under_host = {key: value for key, value in said.items() if not key.startswith(PREFIX)}
    assert set(under_host) == {"address", "host_key"}
    changes = [put(f"host.{key}", value) for key, value in under_host.items()]
    plan = plan_of(kind, *changes, *(put(key, value) for key, value in beside.items()))
    assert plan.host.address == "10.213.7.10"
    assert plan.images.stand_in_from == "push"
    assert list(refusals(plan)) == []  # a pinned key, and in production no placeholder and stand-ins allowed
    assert plan.allow_stand_in


@pytest.mark.parametrize("kind", tool.KINDS)
def test_where_the_logins_belong_is_printed(kind: str) -> None:
    text = printed(kind)
    assert f"`make encrypt STACK={kind}`" in text
    assert f"under {PREFIX}secrets" in text
    assert all(password in text for _, password in ADMINS.values())
    assert Path("build/lab/make/key").as_posix() in text
