"""Types of what is on a network: an address, a network, a URL, a server's public key."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, WithJsonSchema

from plan.problems import shown
from plan.semantic import refuse

_ADDRESS = "write an IP address or a host name"
_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"


def _address(value: Any) -> str:
    if not isinstance(value, str):
        raise refuse(f"{shown(value)} is not an address", _ADDRESS)
    if re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", value) and not re.fullmatch(r"[0-9.]+", value):
        return value
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise refuse(f"{shown(value)} is not an address", _ADDRESS) from None


Address = Annotated[str, BeforeValidator(_address), WithJsonSchema({"type": "string"})]


def is_loopback(address: str) -> bool:
    """Whether this address is the machine itself: localhost, all of 127.0.0.0/8, ::1, however they are written."""
    name = address.casefold()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def is_ipv6(text: str) -> bool:
    """Whether this is an address or a network of IPv6; a name is neither."""
    try:
        return ipaddress.ip_interface(text).version == 6
    except ValueError:
        return False


def same_address(one: str, other: str) -> bool:
    """Whether both are written for the same machine; names are compared as DNS does."""
    return one.casefold() == other.casefold() or (is_loopback(one) and is_loopback(other))


def _cidr(value: Any) -> str:
    right = "write a network in CIDR form, for example 10.0.0.0/8 or 203.0.113.7/32"
    if not isinstance(value, str) or "/" not in value:
        raise refuse(f"{shown(value)} is not a network", right)
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise refuse(f"{shown(value)} is not a network ({error})", right) from None


Cidr = Annotated[
    str, BeforeValidator(_cidr), WithJsonSchema({"type": "string", "pattern": r"^[0-9a-fA-F.:]+/\d{1,3}$"})
]


def _subnet(value: Any) -> str:
    text = _cidr(value)
    network = ipaddress.ip_network(text)
    if network.version != 4 or network.prefixlen > 28:
        right = "write an IPv4 network of /28 or wider, for example 172.28.83.0/24"
        raise refuse(f"{shown(value)} has no room for the services' network", right)
    return text


Subnet = Annotated[str, BeforeValidator(_subnet), WithJsonSchema({"type": "string", "pattern": r"^[0-9.]+/\d{1,2}$"})]


def gateway_of(subnet: str) -> str:
    """The host's own address on a services' network: the subnet's first."""
    return str(ipaddress.ip_network(subnet)[1])


_URL = r"^(https?|wss?)://[^\s/?#@\\]+([/?#]\S*)?$"
_PRINTABLE = re.compile(r"[^\x00-\x20\x7f-\x9f\u2028\u2029\ufffe\uffff]{1,4000}")


def _url(value: Any) -> str:
    right = "write a URL, for example https://node.example:8545"
    if not isinstance(value, str):
        raise refuse(f"{shown(value)} is not a URL", right)
    if re.match(r"[^/?#]*//[^/?#]*@", value):
        # The value itself isn't shown: it may hold the password (D6).
        raise refuse("names a user or a password, which previews show", "keep them under secrets.NAME only")
    try:
        host = host_of(value) if _PRINTABLE.fullmatch(value) and re.match(_URL, value) else ""
    except ValueError:
        host = ""
    if not re.fullmatch(r"[A-Za-z0-9._-]+|[0-9a-f:.]+", host):
        raise refuse(f"{shown(value)} is not a URL", right)
    return value


Url = Annotated[str, BeforeValidator(_url), WithJsonSchema({"type": "string", "pattern": _URL})]
"""A URL without user information whose parts can be read: `host_of` never fails on it."""


def _web_url(value: Any) -> str:
    url = _url(value)
    if not url.startswith("http"):
        raise refuse(f"{shown(value)} is no address of a web server", "begin with https:// or http://")
    return url


WebUrl = Annotated[
    str, BeforeValidator(_web_url), WithJsonSchema({"type": "string", "pattern": _URL.replace("|wss?", "")})
]
"""A `Url` that programs download from."""


def host_of(url: str) -> str:
    """The host of a URL in small letters, without the dot that ends a full name; ValueError where it can't be read."""
    parts = urlsplit(url)
    _ = parts.port  # read for its own sake: a port that is none is refused too
    return (parts.hostname or "").removesuffix(".")


def is_placeholder(url: str) -> bool:
    """Whether it points to a name that never resolves (RFC 2606)."""
    return f".{host_of(url)}".endswith(".invalid")


_KEY_TYPES = {
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
}


def _host_key(value: Any) -> str:
    # Never shown: who mixes up the two halves of a key pastes the private one (D6).
    wrong = "is not a server's public key"
    right = "write its type and its base64, for example ssh-ed25519 AAAA… (`ssh-keyscan` shows it)"
    words = value.split(" ") if isinstance(value, str) and _ONE_LINE.fullmatch(value) else []
    if len(words) < 2 or words[0] not in _KEY_TYPES:
        raise refuse(wrong, right)
    try:
        fields = _fields(base64.b64decode(words[1], validate=True))
    except (binascii.Error, ValueError):
        raise refuse(wrong, right) from None
    if len(fields) < 2 or fields[0] != words[0].encode() or not all(fields):
        raise refuse(wrong, right)
    return str(value)


_ONE_LINE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]{1,4000}")


def _fields(blob: bytes) -> list[bytes]:
    """The fields of a key, each with its length in front (RFC 4253); ValueError when one is cut off."""
    found: list[bytes] = []
    while blob:
        end = 4 + int.from_bytes(blob[:4])
        if len(blob) < end:
            raise ValueError("a field is cut off")
        found.append(blob[4:end])
        blob = blob[end:]
    return found


HostKey = Annotated[
    str,
    BeforeValidator(_host_key),
    WithJsonSchema({"type": "string", "pattern": rf"^({'|'.join(sorted(_KEY_TYPES))}) [A-Za-z0-9+/]+=*( .*)?$"}),
]
