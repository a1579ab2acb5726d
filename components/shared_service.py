"""An edition's shared service: keeps records that sync exports and imports (E2, E4)."""

from __future__ import annotations

from typing import Any

import pulumi

from components.service import BlockchainService, BlockchainServiceArgs

EXPORT = "/app/export_data.sh"
IMPORT = "/app/import_data.sh"


class SharedService(BlockchainService):
    """A service whose records can be taken out and put in, by the documented scripts in its container."""

    TYPE = "blockchain:editions:SharedService"

    def __init__(self, name: str, args: BlockchainServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts, type_token=self.TYPE)

    def outputs(self, name: str) -> dict[str, pulumi.Output[Any]]:
        """Besides a service's own, how its records are taken out and put in."""
        self.export_command = pulumi.Output.from_input(f"docker exec {name} {EXPORT}")
        # `docker exec` without -i would import nothing (D7).
        self.import_command = pulumi.Output.from_input(f"docker exec -i {name} {IMPORT}")
        more = {"export_command": self.export_command, "import_command": self.import_command}
        return {**super().outputs(name), **more}
