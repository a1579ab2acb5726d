"""Registers services with the Consul agent of this host (P3). What doesn't work is said, and never fails an `up`."""

from __future__ import annotations

import hashlib
import http.client
import json
from typing import Any, Dict, List, Optional, cast
from urllib.parse import quote, urlsplit

from hostctl.console import say
from hostctl.context import Context
from hostctl.forms import Registration, ServiceDefinition
from hostctl.launch import CONSUL
from hostctl.redact import Unreadable, read_secrets

SECONDS = 2.0
NOT_REGISTERED = "not registered in Consul"
"""The observed label of a healthy service that Consul doesn't know as it should; the next `up` repairs it."""
_MARK = "blockchain-dao"
_MOST_BYTES = 4 * 1024 * 1024


class _Silent(Exception):
    """Consul doesn't answer, or not as an agent does."""


def after_healthy(context: Context, definition: ServiceDefinition) -> str:
    """Registers a healthy service where its definition says so; gives a warning, or nothing."""
    where = definition["register"]
    if not where:
        return ""
    wanted = registration(definition, where)
    try:
        agent = _Agent(context, where)
        if not _same(agent.service(wanted["ID"]), wanted):
            agent.put("/v1/agent/service/register", wanted)
    except _Silent as trouble:
        return _warn("%s is %s: %s" % (definition["name"], NOT_REGISTERED, trouble))
    return ""


def after_down(context: Context, name: str, definition: Optional[ServiceDefinition]) -> str:
    """Takes a service that is gone out of Consul; gives a warning, or nothing."""
    where = definition["register"] if definition else None
    if definition is None or not where:
        return ""
    ident = _ident(definition)
    try:
        agent = _Agent(context, where)
        if agent.service(ident) is not None:
            agent.put("/v1/agent/service/deregister/" + quote(ident, safe=""), None)
    except _Silent as trouble:
        return _warn("%s may still be registered in Consul: %s" % (name, trouble))
    return ""


def after_change(context: Context, former: Optional[ServiceDefinition], now: ServiceDefinition) -> str:
    """Takes a service out of the Consul where its last good form registered it and the new one doesn't."""
    before, after = (former["register"] if former else None), now["register"]
    if not before or (after and after["consul"] == before["consul"]):
        return ""
    return after_down(context, now["name"], former)


class Registered:
    """What the agent knows, asked once for all services of an observation."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._known: Dict[str, Optional[Dict[str, Any]]] = {}

    def differs(self, name: str, definition: Optional[ServiceDefinition]) -> str:
        """The words of the label; empty when it is registered as it should be, and while Consul doesn't answer."""
        where = definition["register"] if definition else None
        if definition is None or not where:
            return ""
        if where["consul"] not in self._known:
            self._known[where["consul"]] = self._ask(where)
        known = self._known[where["consul"]]
        if known is None:
            return ""  # nothing that an `up` could repair now
        wanted = registration(definition, where)
        return "" if _same(known.get(wanted["ID"]), wanted) else NOT_REGISTERED

    def _ask(self, where: Registration) -> Optional[Dict[str, Any]]:
        try:
            return _Agent(self._context, where).get("/v1/agent/services") or {}
        except _Silent:
            return None


def registration(definition: ServiceDefinition, where: Registration) -> Dict[str, Any]:
    """What Consul is told of a service. Its mark changes with everything else, and is all that has to be compared."""
    wanted: Dict[str, Any] = {
        "ID": _ident(definition),
        "Name": definition["name"],
        "Address": where["address"],
        "Port": definition["ports"][0],
        "Tags": where["tags"],
        "Check": {"HTTP": definition["health"]["url"], "Interval": "10s", "Timeout": "2s"},
    }
    text = json.dumps(wanted, sort_keys=True).encode("utf-8")
    wanted["Meta"] = {_MARK: hashlib.sha256(text).hexdigest()[:12]}
    return wanted


def _ident(definition: ServiceDefinition) -> str:
    return "blockchain-%s-%s" % (definition["environment"], definition["name"])


def _same(found: Optional[Dict[str, Any]], wanted: Dict[str, Any]) -> bool:
    """Whether Consul has a service as it was told, and nobody changed what others go by."""
    if found is None:
        return False
    return (
        cast("Dict[str, Any]", found.get("Meta") or {}).get(_MARK) == wanted["Meta"][_MARK]
        and found.get("Service") == wanted["Name"]
        and found.get("Address") == wanted["Address"]
        and found.get("Port") == wanted["Port"]
        and sorted(cast("List[str]", found.get("Tags") or [])) == sorted(wanted["Tags"])
    )


def _warn(text: str) -> str:
    say("warning: " + text)
    return text


class _Agent:
    """One Consul agent's HTTP API."""

    def __init__(self, context: Context, where: Registration) -> None:
        self._at = urlsplit(where["consul"])
        try:
            self._token = read_secrets(context.layout, CONSUL).get("PASSWORD", "")
        except Unreadable as error:
            raise _Silent(str(error)) from None

    def service(self, ident: str) -> Optional[Dict[str, Any]]:
        """One service as the agent has it; None when it has none."""
        return self.get("/v1/agent/service/" + quote(ident, safe=""), absent=404)

    def get(self, path: str, absent: int = 0) -> Optional[Dict[str, Any]]:
        status, data = self._call("GET", path, None)
        if status == absent:
            return None
        try:
            found = json.loads(data.decode("utf-8"))
        except ValueError:
            raise _Silent("%s does not answer as Consul does" % self._at.netloc) from None
        return cast("Dict[str, Any]", found) if isinstance(found, dict) else None

    def put(self, path: str, body: Optional[Dict[str, Any]]) -> None:
        self._call("PUT", path, body)

    def _call(self, method: str, path: str, body: Optional[Dict[str, Any]]) -> Any:
        connection = http.client.HTTPConnection(self._at.hostname or "", self._at.port or 80, timeout=SECONDS)
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["X-Consul-Token"] = self._token
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            status, data = answer.status, answer.read(_MOST_BYTES)
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "strerror", None) or "no answer"
            raise _Silent("Consul on %s: %s" % (self._at.netloc, str(reason).lower())) from None
        finally:
            connection.close()
        if status == 403:
            raise _Silent("Consul refuses its token: secrets.consul must allow service:write")
        if status >= 400 and not (method == "GET" and status == 404):
            raise _Silent("Consul answers HTTP %d" % status)
        return status, data
