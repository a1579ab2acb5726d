import json

import pulumi
from pulumi_command import local

config = pulumi.Config()


class Service(pulumi.ComponentResource):
    def __init__(self, name: str, command: str, opts=None):
        super().__init__("basic:index:Service", name, {"kind": "service"}, opts)
        self.command = local.Command(
            f"{name}-run",
            create=f"echo create {name} >> log; cat > {name}.json; {command}",
            delete=f"echo delete {name} >> log; rm -f {name}.json",
            stdin=json.dumps({"name": name, "port": config.require_int("port")}),
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"stdout": self.command.stdout})


first = Service("first", f"echo {config.require('word')}")
second = Service("second", "echo two", pulumi.ResourceOptions(depends_on=[first]))
third = local.Command("third", create=first.command.stdout.apply(lambda out: f"echo got {out} >> log; echo three"))
pulumi.log.warn("watch out")
pulumi.log.warn("watch out")
pulumi.export("word", first.command.stdout)
pulumi.export("three", third.stdout)
