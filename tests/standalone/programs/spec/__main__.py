"""Registers what spec.json says: a list of local commands with their options."""

import json
from pathlib import Path

import pulumi
from pulumi_command import local

config = pulumi.Config()
spec = json.loads(Path("spec.json").read_text())
made: dict[str, local.Command] = {}


class Group(pulumi.ComponentResource):
    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("spec:index:Group", name, None, opts)
        self.register_outputs({})


def value_of(text):
    """`$secret:KEY` is a secret of the configuration, `$out:NAME` another command's stdout."""
    if isinstance(text, str) and text.startswith("$secret:"):
        return config.require_secret(text.removeprefix("$secret:"))
    if isinstance(text, str) and text.startswith("$out:"):
        name, _, rest = text.removeprefix("$out:").partition(" ")
        return made[name].stdout.apply(lambda out: f"{rest}{out}")
    return text


groups: dict[str, Group] = {}
for entry in spec["resources"]:
    options = dict(entry.get("options", {}))
    if "depends_on" in options:
        options["depends_on"] = [made[name] for name in options["depends_on"]]
    if "depends_on" in entry.get("group_options", {}):
        entry["group_options"]["depends_on"] = [made[name] for name in entry["group_options"]["depends_on"]]
    if "group" in entry:
        parent = groups.setdefault(entry["group"], None) or Group(
            entry["group"], pulumi.ResourceOptions(**entry.get("group_options", {}))
        )
        groups[entry["group"]] = parent
        options["parent"] = parent
    arguments = {key: value_of(value) for key, value in entry.get("args", {}).items()}
    made[entry["name"]] = local.Command(entry["name"], **arguments, opts=pulumi.ResourceOptions(**options))
for name in spec.get("exports", []):
    pulumi.export(name, made[name].stdout)
