"""Bad input is named, all of it at once, before anything is touched (exit 2)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostctl import definitions
from hostctl.errors import BadInput
from hostctl.layout import FOLDERS
from tests.hostctl import samples

Change = Callable[[dict[str, Any]], Any]


def service(change: Change | None = None) -> Any:
    value = samples.service()
    if change is not None:
        change(value)
    return definitions.parse_service(samples.raw(value), "identity-service")


def test_the_samples_are_sound() -> None:
    assert service()["launch"]["cwd"] == "."
    assert definitions.parse_host(samples.raw(samples.host()))["reloader"] == []
    assert definitions.parse_host(samples.raw(samples.host()))["firewall"] is None
    assert definitions.parse_database(samples.raw(samples.database()), "mysql")["check"]["cwd"] == "."


def test_what_may_be_left_out_has_its_default() -> None:
    value = samples.service()
    del value["secrets"], value["reload"], value["launch"]["cwd"]
    found = definitions.parse_service(samples.raw(value), "identity-service")
    assert (found["secrets"], found["reload"], found["launch"]["cwd"]) == ([], [], ".")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("launch"), "launch is missing"),
        (lambda d: d["launch"].pop("env"), "launch.env is missing"),
        (lambda d: d.update(helth=1), "helth is unknown (did you mean health?)"),
        (lambda d: d["health"].update(timeout=1), "health.timeout is unknown (did you mean timeout_seconds?)"),
        (lambda d: d.update(schema=2), "schema is 2; it must be 1"),
        (lambda d: d.update(schema=True), "schema is True; it must be 1"),
        (lambda d: d.update(kind="host"), "kind is 'host'; it must be 'service'"),
        (lambda d: d.update(name="Identity"), "name is 'Identity': names are a-z, 0-9 and -"),
        (lambda d: d.update(name="-x"), "name is '-x'"),
        (lambda d: d.update(name="x/../y"), "name is 'x/../y'"),
        (lambda d: d.update(name="identity-service\n"), r"name is 'identity-service\n'"),
        (lambda d: d.update(digest="../../etc"), "digest is '../../etc': a digest is 6 to 64 hexadecimal digits"),
        (lambda d: d["launch"].update(argv=[]), "launch.argv must not be empty"),
        (lambda d: d["launch"].update(argv="sh -c x"), "launch.argv must be a list"),
        (lambda d: d["launch"]["env"].update({"A=B": "x"}), "a key of launch.env is 'A=B'"),
        (lambda d: d["launch"]["env"].update(PORT=8302), "launch.env.PORT must be a string"),
        (lambda d: d["launch"]["env"].update(X="a\0b"), "launch.env.X holds characters that no file can"),
        (lambda d: d["launch"]["env"].update(X="\ud800"), "launch.env.X holds characters that no file can"),
        (lambda d: d.update(ports=[0]), "ports[0] must be a whole number from 1 to 65535"),
        (lambda d: d.update(ports=[8302.5]), "ports[0] must be a whole number from 1 to 65535"),
        (lambda d: d["health"].update(url="ftp://x"), "health.url is 'ftp://x': it must look like http://127.0.0.1"),
        (lambda d: d["health"].update(url="http://h:1/a b"), "health.url is"),
        (lambda d: d["health"].update(timeout_seconds=0), "health.timeout_seconds must be a number from 0.1 to 3600"),
        (lambda d: d["stop"].update(grace_seconds=True), "stop.grace_seconds must be a number from 0 to 3600"),
        (lambda d: d.update(secrets=["../x"]), "secrets[0] is '../x'"),
        (lambda d: d["parts"][0].update(file="../x"), "parts[0].file is '../x': a file's name has at most one folder"),
        (lambda d: d["parts"][0].update(file=".hidden"), "parts[0].file is '.hidden'"),
        (lambda d: d["parts"][0].update(order="1"), "parts[0].order must be a whole number"),
    ],
)
def test_what_is_wrong_is_named(change: Change, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        service(change)
    assert message in str(caught.value)


def test_what_an_older_control_side_doesnt_say_has_its_default() -> None:
    found = service()
    assert (found["edge"], found["proxy"], found["files"]) == (None, None, {})
    found = service(lambda d: d.update(edge=None, proxy=None))
    assert (found["edge"], found["proxy"]) == (None, None)


def test_a_service_behind_the_edge_and_the_edge_itself() -> None:
    found = service(lambda d: d.update(launch=samples.container(), edge=samples.behind()))
    assert found["edge"] == samples.behind()
    files = {"edge/haproxy.cfg": {"mode": "0644"}}
    found = service(lambda d: d.update(launch=samples.container(), proxy=samples.proxy(), files=files))
    assert (found["proxy"], found["files"]) == (samples.proxy(), files)
    certificates = samples.proxy(certificates="/etc/blockchain-dao/tls")
    found = service(lambda d: d.update(launch=samples.container(), proxy=certificates, files=files))
    assert found["proxy"]["certificates"] == "/etc/blockchain-dao/tls"


def put_behind(**changes: Any) -> Change:
    return lambda d: d.update(launch=samples.container(), edge=samples.behind(**changes))


def made_proxy(**changes: Any) -> Change:
    files = {"edge/haproxy.cfg": {"mode": "0644"}}
    return lambda d: d.update(launch=samples.container(), files=files, proxy=samples.proxy(**changes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put_behind(address="gateway"), "edge.address is 'gateway': not an IPv4 address"),
        (put_behind(ports=[16804]), "edge.ports must have exactly 2 entries"),
        (put_behind(ports=[16804, 16805, 16806]), "edge.ports must have exactly 2 entries"),
        (put_behind(ports=[16804, 16804]), "edge.ports are 16804 and 16804: they must be two that follow each other"),
        (put_behind(ports=[16804, 16806]), "edge.ports are 16804 and 16806: they must be two that follow each other"),
        (put_behind(ports=[8302, 8303]), "edge.ports has 8302, which the edge itself listens on"),
        (put_behind(ports=[0, 1]), "edge.ports[0] must be a whole number from 1 to 65535"),
        (put_behind(update="quickly"), "edge.update is 'quickly'; it must be 'rolling' or 'recreate'"),
        (put_behind(ready="ready"), "edge.ready is 'ready': it must be a path such as /ready"),
        (put_behind(settle_seconds=-1), "edge.settle_seconds must be a number from 0 to 3600"),
        (put_behind(adress=""), "edge.adress is unknown (did you mean address?)"),
        (lambda d: d.update(edge=samples.behind()), "edge needs a container: launch.image is missing"),
        (lambda d: (put_behind()(d), d.update(ports=[8302, 8303])), "ports must be exactly one: edge has one pair"),
        (lambda d: (put_behind()(d), made_proxy()(d)), "edge and proxy can't both be there"),
        (made_proxy(file="edge/other.cfg"), "proxy.file is 'edge/other.cfg': it must be one of the definition's own"),
        (lambda d: d.update(launch=samples.container(), proxy=samples.proxy()), "it must be one of the definition's"),
        (made_proxy(sockets="sockets/edge"), "proxy.sockets is 'sockets/edge': it must be a folder in run"),
        (made_proxy(sockets="run/../edge"), "proxy.sockets is 'run/../edge'"),
        (made_proxy(sockets="run/.."), "proxy.sockets is 'run/..'"),
        (made_proxy(certificates="tls"), "proxy.certificates is 'tls': it must be an absolute folder of the host"),
        (made_proxy(certificates="/a:/b"), "proxy.certificates is '/a:/b'"),
    ],
)
def test_what_is_wrong_about_the_edge_is_named(change: Change, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        service(change)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["../x"], "a key of files is '../x': a file's name has at most one folder in it, such as edge/haproxy.cfg"),
        (["edge/../x"], "a key of files is 'edge/../x'"),
        (["/etc/passwd"], "a key of files is '/etc/passwd'"),
        (["a/b/c"], "a key of files is 'a/b/c'"),
        (["edge/"], "a key of files is 'edge/'"),
        ([".x/y"], "a key of files is '.x/y'"),
        (["edge/.haproxy.cfg.tmp-1"], "a key of files is 'edge/.haproxy.cfg.tmp-1'"),
        (["state/x"], "files.state/x is the name of one of our folders (state)"),
        (["State/x"], "files.State/x is the name of one of our folders (state)"),
        (["bin"], "files.bin is the name of one of our folders (bin)"),
        (["run/edge"], "files.run/edge is the name of one of our folders (run)"),
        (["edge", "edge/x"], "files.edge is a file, and another one's folder"),
    ],
)
def test_a_file_that_may_not_be(files: list[str], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        service(lambda d: d.update(files={file: {"mode": "0644"} for file in files}))
    assert message in str(caught.value)
    changes = {"files": samples.host()["files"] | {file: {"mode": "0644"} for file in files}}
    with pytest.raises(BadInput) as caught:
        definitions.parse_host(samples.raw(samples.host(**changes)))
    assert message in str(caught.value)


@given(st.text(max_size=40) | st.from_regex(r"\A[./a-z]{1,12}\Z"))
def test_whatever_a_file_is_called_it_stays_in_root_and_out_of_our_folders(name: str) -> None:
    try:
        service(lambda d: d.update(files={name: {"mode": "0644"}}))
    except BadInput:
        return
    place = Path("/root-folder") / name
    assert Path(os.path.normpath(place)) == place
    assert place.parent in (Path("/root-folder"), Path("/root-folder") / name.split("/")[0])
    assert place.relative_to("/root-folder").parts[0].lower() not in FOLDERS
    assert not any(part.startswith(".") for part in place.parts)


def test_all_problems_at_once() -> None:
    with pytest.raises(BadInput) as caught:
        service(lambda d: (d.pop("launch"), d.update(ports=[0], typo=1)))
    text = str(caught.value)
    assert all(word in text for word in ("launch is missing", "ports[0]", "typo is unknown"))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is not JSON (line 1, column 1"),
        (b"{", "is not JSON"),
        (b"\xff", "is not UTF-8"),
        (b"[]", "it must be an object"),
        (b'{"a": 1, "a": 2}', "the key 'a' is there twice"),
        (b"[" * 100000, "is nested too deeply"),
    ],
)
def test_no_json(raw: bytes, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        definitions.parse_service(raw, "x")
    assert message in str(caught.value)


def test_the_name_must_be_the_verbs() -> None:
    with pytest.raises(BadInput, match="its name is 'identity-service', but the verb says 'other'"):
        definitions.parse_service(samples.raw(samples.service()), "other")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": {"state": {"mode": "0600"}}, "parts": []}, "files.state is the name of one of our folders"),
        ({"files": {"a.conf": {"mode": "644"}}}, "files.a.conf.mode is '644': a mode is 4 octal digits"),
        ({"files": {"a.conf": {"mode": "0644"}}}, "the host's files are: a.conf"),
        ({"reloader": []}, "reloader must not be empty"),
        ({"firewall": {"ssh_port": 22, "ports": []}}, "firewall.network is missing"),
        ({"firewall": {}, "firwall": {}}, "firwall is unknown (did you mean firewall?)"),
    ],
)
def test_a_bad_host(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        definitions.parse_host(samples.raw(samples.host(**changes)))
    assert message in str(caught.value)


def test_no_message_repeats_a_secret() -> None:
    for raw in (
        b'{"A": ["hush"]}',
        b'{"A": {"hush": 1}}',
        b'["hush"]',
        b'"hush"',
        b'{"A": "hush\\u0000"}',
        b'{"A": "hush"',
    ):
        with pytest.raises(BadInput) as caught:
            definitions.parse_secrets(raw)
        assert "hush" not in str(caught.value)


def test_observe_may_be_asked_without_anything() -> None:
    assert definitions.parse_observe(b"\n") == {"databases": {}, "secrets": {}, "containers": []}
    with pytest.raises(BadInput, match=r"databases\.mysql\.check is missing"):
        definitions.parse_observe(samples.raw({"databases": {"mysql": {"schema": 1}}}))


def test_the_digest_is_of_what_is_launched() -> None:
    def digest(**changes: Any) -> str:
        return samples.service(**changes)["digest"]

    assert digest() == digest()
    assert digest(reload=["elsewhere"]) == digest()
    assert len({digest(), digest(grace=4), digest(timeout=9), digest(secrets=["a"]), digest(argv=["x"])}) == 5


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from([*sorted(samples.service()), "edge", "proxy", "files"]), JSON)
def test_whatever_comes_it_is_sound_or_refused(key: str, value: Any) -> None:
    raw = json.dumps(samples.service() | {key: value}).encode()
    try:
        found = definitions.parse_service(raw, "identity-service")
    except BadInput:
        return
    assert found["name"] == "identity-service"


def host_with(**prerequisites: Any) -> Any:
    return definitions.parse_host(samples.raw(samples.host() | {"prerequisites": prerequisites}))["prerequisites"]


def test_what_may_be_installed_on_a_server() -> None:
    assert definitions.parse_host(samples.raw(samples.host()))["prerequisites"] == {}
    for mirror in ("", "https://mirrors.example/debian", "http://[::1]:80/a?b=%20"):
        whole = {"install": True, "mirror": mirror, "disk": 10**9}
        assert host_with(**whole) == whole


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"install": 1}, "prerequisites.install must be true or false"),
        ({"install": "yes"}, "prerequisites.install must be true or false"),
        ({"mirror": "ftp://x"}, "prerequisites.mirror is 'ftp://x': it must look like https://mirrors.example/debian"),
        ({"mirror": "http://x y"}, "prerequisites.mirror is 'http://x y'"),
        ({"mirror": "http://x\ndeb http://evil"}, "prerequisites.mirror is "),
        ({"disk": -1}, "prerequisites.disk must be a whole number"),
        ({"mirrors": ""}, "prerequisites.mirrors is unknown (did you mean mirror?)"),
    ],
)
def test_what_may_not(given: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        host_with(**given)
    assert message in str(caught.value)
