"""An edition's shared service: keeps records that sync exports and imports (E2, E4)."""

from __future__ import annotations

import pulumi

from components.service import BlockchainService, BlockchainServiceArgs

EXPORT = "/app/export_data.sh"
IMPORT = "/app/import_data.sh"


class SharedService(BlockchainService):
    """A service whose records can be taken out and put in, by the documented scripts in its container."""

    TYPE = "blockchain:editions:SharedService"
    export_command: pulumi.Output[str]
    """Writes all records to its standard output."""
    import_command: pulumi.Output[str]
    """Reads such records from its standard input."""

    def __init__(self, name: str, args: BlockchainServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        export = pulumi.Output.from_input(f"docker exec {name} {EXPORT}")
        # `docker exec` without -i would import nothing (D7).
        import_ = pulumi.Output.from_input(f"docker exec -i {name} {IMPORT}")
        more = {"export_command": export, "import_command": import_}
        super().__init__(name, args, opts, type_token=self.TYPE, more=more)
        self.export_command, self.import_command = export, import_
