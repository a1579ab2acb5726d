"""The verb `launch`: what supervisord runs. It turns into the service, with its own settings and secrets only.

Few imports on purpose: this runs at every start of every service.
"""

from __future__ import annotations

import os
import sys
from typing import Dict, List

from hostctl import paths
from hostctl.environment import outside_environment
from hostctl.errors import HostctlError
from hostctl.identity import myself
from hostctl.layout import Layout, file_identity, read_json, write_json
from hostctl.redact import read_secrets

ADMIN_SECRET = "-admin"
"""What the owner of a database admin's password ends with (see `database.py`)."""
REGISTRY = "registry"
CONSUL = "consul"
OURS_ALONE = (CONSUL, REGISTRY)
"""Owners of what only hostctl itself uses: Consul's token, and what opens the images' registry."""


def launch(root: str, name: str, digest: str) -> None:
    """Becomes the service; comes back only with an error."""
    layout = Layout(root)
    spec = read_json(layout.definitions / name / (digest + ".json"))
    host = read_json(layout.host)
    if spec is None or host is None:
        raise HostctlError("there are no settings %s of %s in %s" % (digest, name, layout.state))
    base = str(host["base"])

    def place(text: str) -> str:
        return paths.placed(text, str(layout.root), base)

    environment = outside_environment()
    environment.update(_secrets(layout, name, digest, spec["secrets"]))
    environment.update({key: place(value) for key, value in spec["launch"]["env"].items()})
    argv = [place(word) for word in spec["launch"]["argv"]]
    _become(base, paths.under(base, place(spec["launch"]["cwd"])), argv, environment)


def launch_reloader(root: str) -> None:
    """Becomes the host's reloader, in BASE, with the wrapper's path behind its own arguments."""
    layout = Layout(root)
    host = read_json(layout.host)
    if host is None or not host["definition"]["reloader"]:
        raise HostctlError("the host in %s has no reloader" % layout.root)
    argv = [*host["definition"]["reloader"], str(layout.bin / "hostctl")]
    _become(host["base"], host["base"], argv, outside_environment())


def _become(base: str, folder: str, argv: List[str], environment: Dict[str, str]) -> None:
    program = paths.program(base, argv[0])
    try:
        os.chdir(folder)
    except OSError as error:
        raise HostctlError("its folder %s can't be entered: %s" % (folder, error.strerror)) from None
    try:
        # The whole path as argv[0] too: a virtual environment's python finds its packages by it.
        os.execvpe(program, [program, *argv[1:]], environment)  # noqa: S606 # becoming it is the point
    except OSError as error:
        raise HostctlError("its program %s can't be run: %s" % (program, error.strerror)) from None


def _secrets(layout: Layout, name: str, digest: str, owners: List[str]) -> Dict[str, str]:
    """Reads the secret files, after writing down which ones these are.

    In this order, so that whoever writes a file and then looks knows whether we have read the old one.
    """
    while True:
        seen = {owner: file_identity(layout, owner) for owner in owners}
        try:
            write_json(
                layout.running / (name + ".json"),
                {"process": myself(), "digest": digest, "secrets": seen},
                durable=False,
            )
        except OSError as error:
            print("hostctl: %s" % error, file=sys.stderr)  # a full disk is no reason not to start
        found: Dict[str, str] = {}
        for owner in owners:
            for key, value in read_secrets(layout, owner).items():
                found[variable(owner, key, name)] = value
        if seen == {owner: file_identity(layout, owner) for owner in owners}:
            return found


def for_services(owner: str) -> bool:
    """Whether a service may have this owner's secrets; the others are for hostctl alone (D6)."""
    return not owner.endswith(ADMIN_SECRET) and owner not in OURS_ALONE


def variable(owner: str, key: str, service: str = "") -> str:
    """A database's PASSWORD reaches services as BLOCKCHAIN_MYSQL_PASSWORD (docs/contracts.md).

    An admin's never does: whoever asks for it, in a definition or by hand, is refused.
    """
    if not for_services(owner) and owner != service:
        raise HostctlError("the secrets of %s are for hostctl alone: no service gets them" % owner)
    if key == "PASSWORD" and owner != service:
        return "BLOCKCHAIN_%s_PASSWORD" % owner.upper().replace("-", "_")
    return key
