"""What a stack file says of a server without Docker gets to the host, and to nothing else."""

from __future__ import annotations

import pytest

from plan.render import definitions
from tests.plan.stacks import drop, notices_of, plan_of, problems_of, put

MIRROR = "https://mirrors.example/debian"


@pytest.mark.parametrize("stack", ["tencent", "alibaba"])
def test_nothing_is_installed_unless_the_stack_says_so(stack: str) -> None:
    plain = definitions(plan_of(stack))
    assert plain["host"]["prerequisites"] == {"install": False, "mirror": ""}
    given = definitions(plan_of(stack, put("host.install_docker", True), put("host.packages_mirror", MIRROR)))
    assert given["host"]["prerequisites"] == {"install": True, "mirror": MIRROR}
    del plain["host"], given["host"]
    assert given == plain


def test_a_laptop_installs_nothing() -> None:
    plan = plan_of("local", put("host.install_docker", True), put("host.packages_mirror", MIRROR))
    assert "prerequisites" not in definitions(plan)["host"]
    told = [str(notice) for notice in plan.notices]
    assert "host.install_docker: does nothing: runtime process installs no Docker" in told
    assert "host.packages_mirror: does nothing: only what install_docker installs comes from there" in told


def test_a_mirror_for_nothing_is_noticed() -> None:
    told = "host.packages_mirror: does nothing: only what install_docker installs comes from there"
    assert told in notices_of("tencent", put("host.packages_mirror", MIRROR))
    assert told not in notices_of("tencent", put("host.packages_mirror", MIRROR), put("host.install_docker", True))
    assert told not in notices_of("tencent", drop("host.reserve"))


@pytest.mark.parametrize(
    "url", ["wss://mirror.example", "mirrors.example/debian", "ftp://mirror.example", "http://a b"]
)
def test_a_mirror_is_a_web_server(url: str) -> None:
    (told,) = problems_of("tencent", put("host.packages_mirror", url))
    assert told.startswith("host.packages_mirror: ")


def test_a_password_in_the_mirrors_address_is_refused_and_not_shown() -> None:
    (told,) = problems_of("tencent", put("host.packages_mirror", "https://me:HUNTER2@mirror.example/debian"))
    assert "HUNTER2" not in told  # D6
