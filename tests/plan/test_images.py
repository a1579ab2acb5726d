"""Which images a server needs, how it gets them, and what can't be (issue 4, images)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostctl.definitions import NAME
from plan.images import images_of
from plan.load import load_plan
from plan.render import definitions, image_definition, image_delivery
from plan.semantic import SECRET, registry
from tests.plan.stacks import RECREATE, Change, changed, notices_of, plan_of, problems_of, put

STAND_IN = "blockchain-dao/stand-in:0.1.0-0123456789ab"
EDGE = "blockchain-dao/edge:0.1.0-fedcba987654"
DIGEST = f"sha256:{'c' * 64}"
OWN = {"stand-in", "edge"}
IDENTITY = "services.identity-service"


def server(*changes: Change) -> Any:
    return load_plan("tencent", changed("tencent", *changes), stand_in_image=STAND_IN, edge_image=EDGE)


def image(name: str, **more: Any) -> Change:
    return put(IDENTITY, {"port": 8402, "image": name, **more})


def test_the_stand_in_is_one_image_for_all_that_run_it_and_the_databases_client() -> None:
    plan = server()
    one = next(one for one in images_of(plan) if one.name != "edge")
    assert (one.name, one.source, one.reference, one.run_as, one.digest) == (
        "stand-in",
        "build",
        STAND_IN,
        STAND_IN,
        "",
    )
    assert len(one.keys) == len(plan.running) == 16
    assert one.folder == "image"
    made = definitions(plan)
    assert all(made[f"service/{s.name}"]["launch"]["image"] == STAND_IN for s in plan.running)
    assert all(service.stand_in for service in plan.running)  # D13: whatever its tag
    assert STAND_IN in made["database/mysql"]["check"]["argv"]


def test_a_change_of_its_sources_changes_every_service_that_runs_it_and_no_other() -> None:
    before, after = (
        definitions(load_plan("tencent", changed("tencent", image("x.example/id:1")), stand_in_image=one))
        for one in (STAND_IN, STAND_IN[:-1] + "c")
    )
    same = {name for name in before if before[name] == after[name] and name.startswith("service/")}
    assert same == {"service/identity-service", "service/edge"}


def test_a_laptop_needs_none() -> None:
    assert images_of(plan_of("local")) == ()
    plan = load_plan("local", changed("local"), stand_in_image=STAND_IN)
    assert {service.image for service in plan.running} == {"blockchain-dao/stand-in:0.1.0"}


@pytest.mark.parametrize(
    ("changes", "source", "run_as"),
    [
        ([image("r.example/team/id:1.4.2")], "registry", "r.example/team/id:1.4.2"),
        ([image(f"r.example/team/id:1.4.2@{DIGEST}")], "registry", f"r.example/team/id:1.4.2@{DIGEST}"),
        ([image("id:1.4.2", image_from="push")], "push", "id:1.4.2"),
        # What no registry's digest finds has it in its tag.
        ([image(f"id:1.4.2@{DIGEST}", image_from="push")], "push", "id:1.4.2-cccccccccccc"),
        ([image(f"r.example:5000/id@{DIGEST}", image_from="push")], "push", "r.example:5000/id:cccccccccccc"),
        ([image(f"id:1@{DIGEST}")], "registry", f"id:1@{DIGEST}"),
        ([image(f"id:1@{DIGEST}"), put("images.mirror", "m.example")], "registry", "id:1-cccccccccccc"),
        ([image("id:1"), put("images.mirror", "m.example")], "registry", "id:1"),
        (
            [image(f"r.example/id:1@{DIGEST}"), put("images.mirror", "m.example")],
            "registry",
            f"r.example/id:1@{DIGEST}",
        ),
    ],
)
def test_under_which_name_it_runs(changes: list[Change], source: str, run_as: str) -> None:
    plan = server(*changes)
    (one,) = [one for one in images_of(plan) if one.name not in OWN]
    assert (one.name, one.source, one.run_as, one.keys) == ("id", source, run_as, (IDENTITY,))
    assert definitions(plan)["service/identity-service"]["launch"]["image"] == run_as
    assert one.digest == (DIGEST if "@" in one.reference else "")


def test_a_new_version_keeps_its_images_name() -> None:
    for version in ("1.4.2", "1.4.3", "2"):
        assert {one.name for one in images_of(server(image(f"r.example/id:{version}")))} == {*OWN, "id"}


def names_of(plan: Any) -> dict[str, str]:
    return {one.run_as: one.name for one in images_of(plan)}


def test_images_of_one_repository_have_names_of_their_own() -> None:
    both = server(image("r.example/id:1"), put("services.blockchain-auth.image", "r.example/id:2"))
    assert sorted(names_of(both).values()) == ["edge", "id--blockchain-auth", "id--identity-service", "stand-in"]
    named_so = server(image("r.example/stand-in:1"))
    name = "r.example/stand-in:1"
    assert names_of(named_so) == {EDGE: "edge", STAND_IN: "stand-in", name: "stand-in--identity-service"}
    assert names_of(server(image("r.example/edge:1")))["r.example/edge:1"] == "edge--identity-service"
    # Also in the place of the edge's own, which is known by that name on the server.
    assert "edge--edge" in names_of(server(put("edge.image", "team/edge:2"))).values()
    # Where there is no edge it is an image like others.
    assert names_of(server(image("r.example/edge:1"), *RECREATE["tencent"]))["r.example/edge:1"] == "edge"


def test_a_new_version_renames_no_other_image_of_its_repository() -> None:
    auth = put("services.blockchain-auth.image", "team/app:2.0")
    before, after = (names_of(server(image(f"team/app:{version}"), auth)) for version in ("1.0", "3.0"))
    assert before["team/app:2.0"] == after["team/app:2.0"]
    assert before["team/app:1.0"] == after["team/app:3.0"]


def test_a_name_is_no_longer_than_hostctl_takes_it() -> None:
    plan = server(image(f"{'a' * 60}:1"), put("services.blockchain-auth.image", f"{'a' * 60}:2"))
    made = names_of(plan).values()
    assert len(set(made)) == 4
    assert all(NAME.fullmatch(name) for name in made), made


names = st.from_regex(
    r"\A(r\.example(:5000)?/)?[a-z]{1,8}(/[a-z]{1,8})?:[a-z0-9][a-z0-9.]{0,11}(@sha256:[0-9a-f]{64})?\Z"
)


@given(st.lists(st.tuples(names, st.sampled_from([None, "registry", "push"])), max_size=4), st.booleans())
def test_every_image_has_one_name_and_every_service_its_image(given_: list[Any], mirrored: bool) -> None:
    names_ = ["identity-service", "blockchain-auth", "blockchain-cache", "governance-service"]
    changes = [put("images", {"mirror": "m.example"} if mirrored else {})]
    used: dict[str, str | None] = {}
    for service, (name, way) in zip(names_, given_, strict=False):
        if name.split("@")[0].endswith(":latest"):
            continue
        source = used.setdefault(name.split("@")[0], way)  # one image from one source
        changes.append(put(f"services.{service}.image", name))
        if source is not None:
            changes.append(put(f"services.{service}.image_from", source))
    plan = server(*changes)
    found = images_of(plan)
    assert len({one.name for one in found}) == len(found)
    assert all(NAME.fullmatch(one.name) for one in found)
    by_name = {one.run_as: one for one in found}
    for service in plan.running:
        one = by_name[service.image]
        assert service.key in one.keys
        assert one.source == service.image_from
        assert not one.run_as.endswith(":latest")
        # Docker finds a digest where it was pulled from, and nowhere else.
        if "@" in one.run_as:
            assert one.source == "registry"
            assert not (mirrored and registry(one.run_as) == "docker.io")


PROBLEMS = [
    (
        [put(f"{IDENTITY}.image_from", "push")],
        f"{IDENTITY}.image_from: says where an image comes from, and none is named",
    ),
    (
        [image("id:1", image_from="push"), put("services.blockchain-auth.image", "id:1")],
        "services.blockchain-auth.image_from: id:1 comes by registry here and by push for identity-service; "
        "write `push`, or another image",
    ),
    (
        [put("images.login", {"server": "r.example", "user": "u"})],
        "images.login: the password of u at r.example is missing",
    ),
    ([put("secrets", {"registry": SECRET})], "secrets.registry: opens nothing in this stack"),
    ([put("images.mirror", "https://m.example")], "images.mirror: 'https://m.example' is not a mirror"),
    ([put("images.login", {"server": "r", "user": "u"})], "images.login.server: 'r' is not a registry"),
    ([put("images.stand_in", "registry")], "images.stand_in: 'registry' is not known"),
    ([put("images.build.base", "debian")], "images.build.base: 'debian' names no version"),
    ([put("images.build.pip_index", "https://u:p@pypi.example")], "images.build.pip_index: names a user or a password"),
    ([image("id:latest")], f"{IDENTITY}.image: 'id:latest' names no version"),
]


@pytest.mark.parametrize(("changes", "problem"), PROBLEMS, ids=[problem[:40] for _, problem in PROBLEMS])
def test_what_cant_be_is_told(changes: list[Change], problem: str) -> None:
    (only,) = problems_of("tencent", *changes)
    assert only.startswith(problem)


def test_a_database_called_registry_and_a_login_are_one_too_many() -> None:
    changes = [
        put("images.login", {"server": "r.example", "user": "u"}),
        put("secrets", {"registry": SECRET}),
        put("databases.registry", {"port": 3399, "kind": "mysql"}),
    ]
    assert problems_of("tencent", *changes) == [
        "databases.registry: secrets.registry is the password of images.login; choose another name"
    ]


def test_a_laptop_has_no_server_to_bring_an_image_to() -> None:
    docker = [put("runtime", "docker"), put(f"{IDENTITY}.image", "id:1")]
    (only,) = problems_of("local", *docker, put(f"{IDENTITY}.image_from", "push"))
    assert only == f"{IDENTITY}.image_from: runtime docker has no server to bring an image to; drop it"
    (said,) = notices_of("local", put("images.mirror", "m.example"))
    assert said == "images: does nothing: runtime process has no server to bring images to"


def test_a_tag_of_a_registry_is_noticed_where_it_matters() -> None:
    pin = f"{IDENTITY}.image: a tag can be moved; pin r.example/id:1@sha256:… so that the same always runs"
    assert pin in notices_of("tencent", image("r.example/id:1"))
    assert not [n for n in notices_of("tencent", image(f"r.example/id:1@{DIGEST}")) if "a tag can" in n]
    assert not [n for n in notices_of("tencent", image("id:1", image_from="push")) if "a tag can" in n]
    assert not [n for n in notices_of("tencent", image("id:1"), put("mode", "development")) if "a tag can" in n]


def test_what_hostctl_is_told() -> None:
    login = [
        put("images", {"mirror": "m.example", "login": {"server": "r.example", "user": "u"}}),
        put("secrets", {"registry": SECRET}),
    ]
    plan = server(image(f"r.example/id:1@{DIGEST}"), put("services.blockchain-auth.image", f"auth:1@{DIGEST}"), *login)
    told = {one.name: image_definition(plan, one) for one in images_of(plan)}
    assert told["id"] == {
        "schema": 1,
        "kind": "image",
        "name": "id",
        "image": f"r.example/id:1@{DIGEST}",
        "run_as": f"r.example/id:1@{DIGEST}",
        "mirror": "",  # it mirrors Docker Hub only
        "login": {"server": "r.example", "user": "u"},
    }
    assert (told["auth"]["mirror"], told["auth"]["login"]) == ("m.example", None)  # nobody else gets the password
    assert told["auth"]["run_as"] == "auth:1-cccccccccccc"


def test_what_imagetool_is_told() -> None:
    build = {"base": "m.example/debian:12", "pip_index": "https://pypi.example/simple", "network": "host"}
    plan = server(put("images.build", build), image("id:1", image_from="push"))
    told = {one.name: image_delivery(plan, one) for one in images_of(plan)}
    assert told["stand-in"]["build"] == {
        "folder": "image",
        "arguments": {"BASE": "m.example/debian:12", "PIP_INDEX_URL": "https://pypi.example/simple"},
        "network": "host",
    }
    assert told["edge"]["build"] == {"folder": "edge", "arguments": {"BASE": "m.example/debian:12"}, "network": "host"}
    assert told["id"]["build"] is None
    assert told["id"]["run_as"] == "id:1"
    assert told["id"]["host"]["hostctl"] == "/opt/blockchain-services/bin/hostctl"


def test_the_stand_in_may_be_pushed() -> None:
    found = images_of(server(put("images.stand_in", "push")))
    assert {(one.name, one.source) for one in found} == {("stand-in", "push"), ("edge", "push")}


def test_the_edges_is_built_like_the_stand_ins_unless_one_is_named() -> None:
    (built,) = [one for one in images_of(server()) if one.name == "edge"]
    assert (built.source, built.reference, built.run_as, built.keys, built.folder) == (
        *("build", EDGE, EDGE),
        ("edge",),
        "edge",
    )
    named = {"edge.image": f"haproxy:2.8@{DIGEST}", "images.mirror": "m.example"}
    plan = server(*(put(key, value) for key, value in named.items()))
    (brought,) = [one for one in images_of(plan) if one.keys == ("edge",)]
    assert (brought.name, brought.source, brought.run_as, brought.folder) == (
        *("haproxy", "registry"),
        "haproxy:2.8-cccccccccccc",
        None,
    )
    assert definitions(plan)["service/edge"]["launch"]["image"] == "haproxy:2.8-cccccccccccc"
    pushed = server(put("edge.image", "team/haproxy:1"), put("edge.image_from", "push"))
    assert [one.source for one in images_of(pushed) if one.name == "haproxy"] == ["push"]
    assert image_delivery(pushed, next(one for one in images_of(pushed) if one.name == "haproxy"))["build"] is None
    assert all(one.keys != ("edge",) for one in images_of(server(*RECREATE["tencent"])))


def test_one_image_comes_one_way_to_the_edge_too() -> None:
    both = [image("team/haproxy:1"), put("edge.image", "team/haproxy:1"), put("edge.image_from", "push")]
    assert problems_of("tencent", *both) == [
        "edge.image_from: team/haproxy:1 comes by push here and by registry for identity-service; "
        "write `registry`, or another image"
    ]
    assert problems_of("tencent", put("edge.image_from", "push")) == [
        "edge.image_from: says where an image comes from, and none is named; add image, or drop this"
    ]
    tagged = "edge.image: a tag can be moved; pin haproxy:2.8@sha256:… so that the same always runs"
    assert tagged in notices_of("tencent", put("edge.image", "haproxy:2.8"))
