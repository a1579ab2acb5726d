"""Types that a stack file's values have: a port, a range of ports, an amount of bytes, an image.

Each refuses with what is wrong and what would be right (`wrong; right`), which `load.py` splits again.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from plan.problems import shown

LOWEST_PORT, HIGHEST_PORT = 1, 65535
LEAST_CONNECTIONS, MOST_CONNECTIONS = 10, 20000
_UNITS = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
# At most as many digits as any disk needs: a longer number fits into no float.
_BYTES = re.compile(r"\s*([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([A-Za-z]+)\s*")
_LEAST_LIMIT = 6 * 2**20
_IMAGE = re.compile(
    r"[a-z0-9][a-z0-9._:/-]*?(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?P<digest>@sha256:[0-9a-f]{64})?"
)


def refuse(wrong: str, right: str) -> PydanticCustomError:
    """The error a semantic type raises: what is wrong, and what would be right."""
    return PydanticCustomError("refused", "{wrong}; {right}", {"wrong": wrong, "right": right})


def _port(value: Any) -> int:
    right = f"a port is a whole number from {LOWEST_PORT} to {HIGHEST_PORT}, for example 8401"
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise refuse(f"{shown(value)} is not a port", right)
    text = str(value)
    if not re.fullmatch(r"[0-9]{1,6}", text) or not LOWEST_PORT <= int(text) <= HIGHEST_PORT:
        raise refuse(f"{shown(value)} is not a port", right)
    return int(text)


Port = Annotated[
    int,
    BeforeValidator(_port),
    WithJsonSchema({"type": "integer", "minimum": LOWEST_PORT, "maximum": HIGHEST_PORT}),
]


class PortRange:
    """An inclusive range of ports, written `8300-8399`."""

    __slots__ = ("first", "last")

    def __init__(self, first: int, last: int) -> None:
        self.first = first
        self.last = last

    @classmethod
    def parse(cls, value: Any) -> PortRange:
        """From `first-last`; raises the refusing error otherwise."""
        if isinstance(value, PortRange):
            return value
        right = "a range is written first-last, for example 8300-8399"
        match = re.fullmatch(r"\s*(\d{1,5})\s*-\s*(\d{1,5})\s*", str(value))
        if match is None:
            raise refuse(f"{shown(value)} is not a range of ports", right)
        first, last = int(match[1]), int(match[2])
        if not LOWEST_PORT <= first <= last <= HIGHEST_PORT:
            raise refuse(f"{shown(value)} is not a range of ports", right)
        return cls(first, last)

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    def overlaps(self, other: PortRange) -> bool:
        return self.first <= other.last and other.first <= self.last

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PortRange) and (self.first, self.last) == (other.first, other.last)

    def __hash__(self) -> int:
        return hash((self.first, self.last))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^\d{1,5}-\d{1,5}$"}


_BYTES_SCHEMA = {"type": "string", "pattern": r"^\s*[0-9]{1,18}(\.[0-9]{1,18})?\s*(B|[KMGT]i?B)\s*$"}


def parse_bytes(value: Any) -> int:
    """An amount of bytes from `64MB` (10^6) or `64MiB` (2^20)."""
    right = "write a number and a unit, for example 64MB or 1.8GB"
    match = _BYTES.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in _UNITS:
        raise refuse(f"{shown(value)} is not an amount of bytes", right)
    return int(Decimal(match[1]) * _UNITS[match[2]])


Bytes = Annotated[
    int,
    BeforeValidator(parse_bytes),
    WithJsonSchema(_BYTES_SCHEMA),
]


def show_bytes(amount: int, *, up: bool = False) -> str:
    """`64MB`, `1.8GB`: as the stack files write it; with `up` never less than it is."""
    unit, decimals = ("GB", 3) if amount >= _UNITS["GB"] else ("MB", 1)
    step = _UNITS[unit] // 10**decimals
    steps = -(-amount // step) if up else round(amount / step)
    if unit == "MB" and steps == 1000 * 10**decimals:
        return "1GB"  # what rounding made of 999.95MB
    return f"{steps / 10**decimals:.{decimals}f}".rstrip("0").rstrip(".") + unit


def _limit(value: Any) -> int:
    amount = parse_bytes(value)
    if amount < _LEAST_LIMIT:
        right = f"write {show_bytes(_LEAST_LIMIT, up=True)} or more, for example 64MB"
        raise refuse(f"{shown(value)} is less than a container can have", right)
    return amount


MemoryLimit = Annotated[int, BeforeValidator(_limit), WithJsonSchema(_BYTES_SCHEMA)]
"""A limit that docker takes: none (0) is no limit (D14)."""


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise refuse(f"{shown(value)} is not a number", "write a number")
    return value


Number = BeforeValidator(_number)
"""Refuses true and false, which pydantic takes for 1 and 0."""


def _image(value: Any) -> str:
    right = "name a version or, better, a digest, for example registry.example/identity:1.4.2 or …@sha256:<64 hex>"
    match = _IMAGE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise refuse(f"{shown(value)} is not an image", right)
    if match["digest"] is None and match["tag"] in (None, "latest"):
        raise refuse(f"{shown(value)} names no version: what runs would change without a change here", right)
    return str(value)


Image = Annotated[str, BeforeValidator(_image), WithJsonSchema({"type": "string"})]


def _folder(value: Any) -> str:
    right = "write an absolute folder of the server, for example /etc/blockchain-dao/tls"
    if not isinstance(value, str) or not re.fullmatch(_FOLDER, value) or {".", ".."} & set(value.split("/")):
        raise refuse(f"{shown(value)} is no folder of a server", right)
    return value


_FOLDER = r"(/[A-Za-z0-9._@+-]{1,255}){1,32}"
HostFolder = Annotated[str, BeforeValidator(_folder), WithJsonSchema({"type": "string", "pattern": rf"^{_FOLDER}$"})]
"""A folder of the server, in characters that neither YAML nor Docker takes for something else."""


def _thumbprint(value: Any) -> str:
    right = "write the 43 characters that `acme.sh --register-account` prints as ACCOUNT_THUMBPRINT"
    if not isinstance(value, str) or not re.fullmatch(_THUMBPRINT, value):
        raise refuse(f"{shown(value)} is no thumbprint of an ACME account", right)
    return value


_THUMBPRINT = r"[A-Za-z0-9_-]{43}"
Thumbprint = Annotated[
    str, BeforeValidator(_thumbprint), WithJsonSchema({"type": "string", "pattern": rf"^{_THUMBPRINT}$"})
]
"""The SHA-256 of an ACME account's public key (RFC 8555), as URLs have it; nothing secret."""


DOCKER_HUB = "docker.io"
"""The registry of an image that names none."""


def registry(image: str) -> str:
    """The registry that an image comes from, as Docker tells it from the name."""
    first, slash, _ = image.split("@", maxsplit=1)[0].partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else DOCKER_HUB


def repository(image: str) -> str:
    """What an image is, whichever registry it comes from and whatever its tag or digest."""
    parts = image.split("@", maxsplit=1)[0].split("/")
    parts[-1] = parts[-1].split(":")[0]
    named = len(parts) > 1 and parts[0] == registry(image)
    return "/".join(parts[1:] if named else parts)


_SERVER = r"(localhost|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+|[A-Za-z0-9.-]+(?=:))(:[0-9]{1,5})?"
_FOLDERS = r"(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"


def _server(value: Any) -> str:
    right = "write its name as images do, for example registry.example or registry.example:5000, without https://"
    if not isinstance(value, str) or not re.fullmatch(_SERVER, value):
        raise refuse(f"{shown(value)} is not a registry", right)
    return value


def _mirror(value: Any) -> str:
    right = "write its name as images do, for example mirror.ccs.tencentyun.com, without https://"
    if not isinstance(value, str) or not re.fullmatch(_SERVER + _FOLDERS, value):
        raise refuse(f"{shown(value)} is not a mirror", right)
    return value


Registry = Annotated[str, BeforeValidator(_server), WithJsonSchema({"type": "string"})]
"""A registry's name, as it stands in front of an image's."""
Mirror = Annotated[str, BeforeValidator(_mirror), WithJsonSchema({"type": "string"})]
"""A registry, or a folder of one, that has what Docker Hub has."""


def _command(value: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if value and not value[0].strip():
        raise refuse(f"{shown(value[0])} is no program", "name what to start, for example [python, main.py]")
    return value


Runnable = AfterValidator(_command)
"""Refuses a command that starts with nothing: only its launch would fail."""


SECRET = "[secret]"
"""What stands in a plan for a secret's value: the value itself never enters one (D6)."""


def _secret(value: Any) -> str:
    if value != SECRET:
        raise refuse("is in clear text", "set it with `pulumi config set --secret --path 'secrets.NAME'`")
    return SECRET


Secret = Annotated[
    str,
    BeforeValidator(_secret),
    WithJsonSchema({"type": "object", "properties": {"secure": {"type": "string"}}, "required": ["secure"]}),
]
