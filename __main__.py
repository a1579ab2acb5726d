"""The whole program: the stack file, a plan that was checked, components, outputs."""

import json
import shlex

import pulumi
from pulumi.runtime.config import get_config_env

from components.environment import Environment, EnvironmentArgs
from components.host import Bundle
from components.observation import Observation, observe_here
from hostctl import RUNTIMES, pack
from plan.checks.safety import refusals
from plan.load import load_plan, own_keys
from plan.problems import InvalidStackError
from plan.render.process import PYTHON
from plan.semantic import SECRET

stack, config, preview = pulumi.get_stack(), pulumi.Config(), pulumi.runtime.is_dry_run()
prefix = f"{pulumi.get_project()}:"
raw, astray = own_keys(pulumi.get_project(), get_config_env())
secret_keys = {key for key in raw if pulumi.runtime.is_config_secret(f"{prefix}{key}")}

try:
    plan = load_plan(stack, raw, secret_keys, astray)
    if not preview and plan.runtime not in (*RUNTIMES, "docker"):
        cure = f"`make preview STACK={stack}` shows what it will do"
        raise pulumi.RunError(f"`up` on servers is not built yet; nothing was touched; {cure}")
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

# From its sources: what asks, or takes away, must not depend on what may be gone.
words = (PYTHON, "-m", "hostctl", "--root", plan.host.layout.root)
if plan.host.local:
    observation = observe_here(plan, (*words, "observe"), secrets, closed)
else:
    observation = Observation.without("servers are observed once hostctl runs on them over SSH")

packed = pack.bundle()
here = shlex.join([PYTHON, "-m", "hostctl.here", plan.host.layout.root, PYTHON, packed.digest])
python = PYTHON if plan.host.local else "python3"
bundle = Bundle(packed.script, packed.digest, packed.payload, python, here)
environment = Environment(
    stack, EnvironmentArgs(plan, bundle, secrets, observation, preview, words if plan.host.local else ())
)
for name, value in environment.outputs().items():
    pulumi.export(name, value)
