"""What the runtime `compose` is made of on one host: its containers, its edge, compose itself, its notes."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, cast

from hostctl import compose_files
from hostctl.compose_command import Compose
from hostctl.compose_containers import Containers, Seen
from hostctl.compose_rolling import Rolling
from hostctl.docker_api import DockerApi
from hostctl.edge import Edge
from hostctl.errors import HostctlError
from hostctl.forms import Behind, ComposeSpec, HostDefinition
from hostctl.generations import Store
from hostctl.layout import Layout, file_identity, read_json, write_json
from hostctl.lock import HostLock
from hostctl.runtime import OLDER_SECRETS, OTHER_SETTINGS


class ComposeParts:
    """One host's parts, each made when it is asked for."""

    def __init__(
        self,
        layout: Layout,
        lock: Optional[HostLock] = None,
        api: Optional[DockerApi] = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._layout, self._lock, self._stopped = layout, lock, stopped
        self._api = api or DockerApi()
        self._store = Store(layout)

    def _differs(self, name: str, digest: str, now: Seen) -> str:
        if now.digest != digest:
            return OTHER_SETTINGS
        known = self._noted(name)
        if known is None or known["container"] != now.id:
            return ""  # made by hand: with the files that are there
        current = {owner: file_identity(self._layout, owner) for owner in known["secrets"]}
        return "" if current == known["secrets"] else OLDER_SECRETS

    def _note(self, name: str, now: Seen, text: str) -> None:
        """Writes down which secrets a container has."""
        owners = compose_files.secret_owners(compose_files.block_of(text, name))
        secrets = {owner: file_identity(self._layout, owner) for owner in owners}
        entry = {"container": now.id, "secrets": secrets}
        if self._noted(name) != entry:
            write_json(self._layout.running / (name + ".json"), entry, durable=False)

    def _noted(self, name: str) -> Optional[Dict[str, Any]]:
        return cast("Optional[Dict[str, Any]]", read_json(self._layout.running / (name + ".json")))

    def _host(self) -> HostDefinition:
        record = read_json(self._layout.host)
        if record is None:
            raise HostctlError("nothing was converged in %s yet" % self._layout.root)
        return cast(HostDefinition, record["definition"])

    def _spec(self) -> ComposeSpec:
        spec = self._host()["compose"]
        assert spec is not None
        return spec

    def _stack(self) -> str:
        return self._host()["name"]

    def containers(self) -> Containers:
        """Those of this host's stack."""
        return Containers(self._layout, self._api, self._stack())

    def _behind(self, name: str) -> Optional[Behind]:
        definition = self._store.now(name)
        return None if definition is None else definition["edge"]

    def edge(self) -> Edge:
        """What has the documented ports."""
        return Edge(self._layout, self._api, self.containers())

    def _rolling(self) -> Rolling:
        return Rolling(self.containers(), self.edge(), self._compose(), self._spec()["file"], self._stopped)

    def _compose(self) -> Compose:
        return Compose(self._layout.root, self._layout.run, self._lock.descriptor if self._lock else None)
