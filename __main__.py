"""The whole program: the stack file, a plan that was checked, components, outputs."""

import json
import os
import time

import pulumi
from pulumi.runtime.config import get_config_env

from components.environment import Environment, EnvironmentArgs
from components.observation import observe_here, observe_there
from hostctl import pack
from imagetool.sources import edge_image, stand_in_image
from plan.checks.safety import refusals
from plan.load import load_plan, own_keys
from plan.problems import InvalidStackError
from plan.semantic import SECRET

stack, config, preview = pulumi.get_stack(), pulumi.Config(), pulumi.runtime.is_dry_run()
prefix = f"{pulumi.get_project()}:"
raw, astray = own_keys(pulumi.get_project(), get_config_env())
secret_keys = {key for key in raw if pulumi.runtime.is_config_secret(f"{prefix}{key}")}

try:
    plan = load_plan(stack, raw, secret_keys, astray, stand_in_image("image"), edge_image("edge"))
    if not preview and (refused := list(refusals(plan))):
        raise InvalidStackError(stack, refused)
except InvalidStackError as error:
    raise pulumi.RunError(str(error)) from None

secrets: dict[str, pulumi.Output[str]] = {}
if plan.secret_names:
    # Their names are the plan's, their values never (D6).
    hidden = config.require_secret_object("secrets")
    secrets = {name: hidden.apply(lambda found, name=name: str(found[name])) for name in plan.secret_names}
# What stands in for a secret that nobody could open: a preview without the passphrase goes on without it.
given: dict[str, object] = json.loads(raw["secrets"]) if secrets else {}
closed = frozenset(name for name, value in given.items() if value == SECRET)

if plan.host.local:
    observation = observe_here(plan, secrets, closed)
else:
    observation = observe_there(plan, os.environ, time.time())
    if observation.reason and not preview:
        where = f"host.address: {plan.host.address}"
        raise pulumi.RunError(f"{where} can't be asked, nothing was touched: {observation.reason}")

arguments = EnvironmentArgs(plan, pack.digest(), secrets, observation, preview)
environment = Environment(stack, arguments)
for name, value in environment.outputs().items():
    pulumi.export(name, value)
