"""Definitions: what the control side hands over on stdin, proved sound before anything is touched.

The forms are those of docs/contracts.md, schema 1. A definition is never secret.
"""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Mapping, Sequence, cast

from hostctl import edge_definition, file_definition, firewall_definition, schema
from hostctl.assemble import Part
from hostctl.errors import BadInput
from hostctl.forms import (
    DatabaseDefinition,
    HostDefinition,
    ImageDefinition,
    ObserveInput,
    ServiceDefinition,
)

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
DIGEST = re.compile(r"[0-9a-f]{6,64}")
CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
URL = re.compile(r"http://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}(/[!-~]*)?")
IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._/:@-]{0,254}")
ADDRESS = re.compile(r"[0-9a-fA-F.:/]{2,49}")
HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}|[0-9a-fA-F:.]{2,45}")
MIRROR = re.compile(r"(https?://[!-~]+)?")


_name = schema.text(NAME, "names are a-z, 0-9 and -, and start with a letter or digit")
_file = schema.text(file_definition.FILE, "the compose file has no folder in its name")
_path = schema.text(empty=False)
_argv = schema.listing(schema.text(), least=1)
_part = {"file": file_definition.name, "order": schema.whole(0, 1000000), "text": schema.text()}
_parts = schema.listing(schema.record(_part))
_common: Dict[str, schema.Check] = {
    "schema": schema.one_of(1),
    "name": _name,
    "environment": _name,
    "parts": _parts,
}


_service_form = schema.record(
    {
        **_common,
        "kind": schema.one_of("service"),
        "runtime": _name,
        "digest": schema.text(DIGEST, "a digest is 6 to 64 hexadecimal digits"),
        "launch": schema.record(
            {"env": schema.mapping(schema.text(KEY, "not a name for an environment variable"), schema.text())},
            {
                "argv": _argv,
                "cwd": _path,
                "image": schema.text(IMAGE, "not the name of an image"),
                "bind": schema.text(ADDRESS, "not an address"),
                "resources": schema.mapping(_name, schema.anything),
            },
        ),
        "ports": schema.listing(schema.whole(1, 65535)),
        "health": schema.record(
            {
                "url": schema.text(URL, "it must look like http://127.0.0.1:8302/health"),
                "timeout_seconds": schema.number(0.1, 3600),
            }
        ),
        "stop": schema.record({"grace_seconds": schema.number(0, 3600)}),
    },
    {
        "secrets": schema.listing(_name),
        "reload": schema.listing(_path),
        "register": schema.record(
            {
                "consul": schema.text(URL, "it must look like http://127.0.0.1:8500"),
                "address": schema.text(HOST, "not the name or address of a machine"),
                "tags": schema.listing(schema.text(empty=False)),
            }
        ),
        "edge": edge_definition.behind,
        "proxy": edge_definition.proxy,
        "files": file_definition.check,
    },
)
_service = schema.then(_service_form, edge_definition.check)
_host = schema.record(
    {
        **_common,
        "kind": schema.one_of("host"),
        "runtime": _name,
        "files": file_definition.check,
    },
    {
        "supervisord": _path,
        "reloader": _argv,
        "compose": schema.record(
            {
                "file": _file,
                "network": _name,
                "subnet": schema.text(ADDRESS, "not a network"),
                "gateway": schema.text(ADDRESS, "not an address"),
            }
        ),
        "integrations": schema.mapping(
            _name,
            schema.record(
                {
                    "host": schema.text(HOST, "not the name or address of a machine"),
                    "ports": schema.listing(schema.whole(1, 65535), least=1),
                    "when_missing": schema.one_of("notice", "fail"),
                }
            ),
        ),
        "prerequisites": schema.record(
            {},
            {
                "install": schema.flag,
                "mirror": schema.text(MIRROR, "it must look like https://mirrors.example/debian, or be empty"),
                "disk": schema.whole(0, 10**18),
            },
        ),
        "firewall": firewall_definition.check,
    },
)
_database = schema.record(
    {
        **_common,
        "kind": schema.one_of("database"),
        "when_missing": schema.one_of("embedded", "fail"),
        "check": schema.record(
            {
                "argv": _argv,
                "input": schema.mapping(schema.anything, schema.anything),
                "timeout_seconds": schema.number(0.1, 600),
            },
            {"cwd": _path},
        ),
    },
    {
        "secret": schema.flag,
        "container": schema.text(CONTAINER, "a container's name is letters, digits, _, . and -"),
        "ports": schema.listing(schema.whole(1, 65535), least=1),
    },
)
_image = schema.record(
    {
        "schema": schema.one_of(1),
        "kind": schema.one_of("image"),
        "name": _name,
        "image": schema.text(IMAGE, "it must look like registry.example/name:1.4.2 or …@sha256:<64 hex>"),
    },
    {
        "run_as": schema.text(IMAGE, "it must look like registry.example/name:1.4.2"),
        "mirror": schema.text(),
        "login": schema.optional(schema.record({"server": schema.text(empty=False), "user": schema.text(empty=False)})),
    },
)
_secrets = schema.mapping(schema.text(KEY, "not a name for an environment variable"), schema.text())
_observe: Dict[str, schema.Check] = {
    "databases": schema.mapping(_name, _database),
    "secrets": schema.mapping(_name, _secrets),
    "containers": schema.listing(_name),
}


def _known_of_observe(value: Any, where: str, problems: List[str]) -> None:
    if isinstance(value, dict):
        asked = cast("Dict[str, Any]", value)
        value = {key: asked[key] for key in asked if key in _observe}
    schema.record({}, _observe)(value, where, problems)


def parse_service(raw: bytes, name: str) -> ServiceDefinition:
    """A service's definition from stdin."""
    value = full_service(_checked(raw, _service, "the service's definition", name))
    _require_for_services(value)
    return value


def full_service(value: Dict[str, Any]) -> ServiceDefinition:
    """With every key that may be left out, or that the hostctl which wrote it down didn't know yet."""
    launch: Dict[str, Any] = {"argv": [], "cwd": ".", "image": "", "bind": "127.0.0.1", "resources": {}}
    defaults: Dict[str, Any] = {"secrets": [], "reload": [], "register": None}
    defaults.update({"edge": None, "proxy": None, "files": {}})
    return cast(ServiceDefinition, {**defaults, **value, "launch": {**launch, **value["launch"]}})


def _require_for_services(value: Mapping[str, Any]) -> None:
    from hostctl.launch import for_services

    for owner in value["secrets"]:
        if not for_services(owner) and owner != value["name"]:
            raise BadInput("the service's definition: the secrets of %s are for hostctl alone" % owner)


def parse_host(raw: bytes) -> HostDefinition:
    """A host's definition from stdin."""
    definition = full_host(_checked(raw, _host, "the host's definition"))
    require_files(definition, definition["parts"])
    return definition


def full_host(value: Dict[str, Any]) -> HostDefinition:
    """With every key that may be left out, or that the hostctl which wrote it down didn't know yet."""
    defaults: Dict[str, Any] = {"supervisord": "", "reloader": [], "prerequisites": {}}
    defaults.update({"compose": None, "integrations": {}, "firewall": None})
    return cast(HostDefinition, {**defaults, **value})


def parse_database(raw: bytes, name: str) -> DatabaseDefinition:
    """A database's definition from stdin."""
    return full_database(_checked(raw, _database, "the database's definition", name))


def full_database(value: Dict[str, Any]) -> DatabaseDefinition:
    """With every key that may be left out, or that the hostctl which wrote it down didn't know yet."""
    return cast(
        DatabaseDefinition,
        {"container": "", "ports": [], "secret": True, **value, "check": {"cwd": ".", **value["check"]}},
    )


def parse_image(raw: bytes, name: str) -> ImageDefinition:
    """An image's definition from stdin."""
    value = _checked(raw, _image, "the image's definition", name)
    value.setdefault("run_as", value["image"])
    value.setdefault("mirror", "")
    value.setdefault("login", None)
    return cast(ImageDefinition, value)


def parse_secrets(raw: bytes) -> Dict[str, str]:
    """Secrets from stdin; no message ever repeats a value."""
    return cast("Dict[str, str]", _checked(raw, _secrets, "the secrets"))


def parse_observe(raw: bytes) -> ObserveInput:
    """The input of `observe`; nothing at all is fine too, and a newer control side may ask more than is known here."""
    value = _checked(raw, _known_of_observe, "the input of observe") if raw.strip() else {}
    databases = {name: full_database(entry) for name, entry in value.get("databases", {}).items()}
    return {
        "databases": databases,
        "secrets": value.get("secrets", {}),
        "containers": value.get("containers", []),
    }


def require_name(name: str) -> str:
    """A name from the command line."""
    if not NAME.fullmatch(name):
        raise BadInput("%r is no name: names are a-z, 0-9 and -, and start with a letter or digit" % name)
    return name


def require_files(host: HostDefinition, parts: Sequence[Part]) -> None:
    """Every part must be for a file that the host has."""
    for part in parts:
        if part["file"] not in host["files"]:
            known = ", ".join(sorted(host["files"])) or "none"
            raise BadInput("a part is for the file %r, but the host's files are: %s" % (part["file"], known))


def _checked(raw: bytes, check: schema.Check, what: str, name: str = "") -> Dict[str, Any]:
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_no_duplicates)
    except UnicodeDecodeError:
        raise BadInput("%s is not UTF-8" % what) from None
    except RecursionError:
        raise BadInput("%s is nested too deeply" % what) from None
    except json.JSONDecodeError as error:
        # Only where, never what: the text may be secret.
        raise BadInput(
            "%s is not JSON (line %d, column %d: %s)" % (what, error.lineno, error.colno, error.msg)
        ) from None
    problems: List[str] = []
    check(value, "", problems)
    if not problems and name and value["name"] != name:
        problems.append("its name is %r, but the verb says %r" % (value["name"], name))
    if problems:
        raise BadInput("%s: %s" % (what, "; ".join(problems)))
    return cast("Dict[str, Any]", value)


def _no_duplicates(pairs: List[Any]) -> Dict[str, Any]:
    found: Dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise BadInput("the key %r is there twice" % key)
        found[key] = value
    return found
