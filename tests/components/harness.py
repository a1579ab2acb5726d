"""Run components under Pulumi's mocks and look at what was registered once everything has drained."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import runpy
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, cast
from unittest import mock

import pulumi
from pulumi.runtime import mocks, rpc, set_all_config
from pulumi.runtime.settings import SETTINGS, get_root_resource, set_root_resource
from pulumi.runtime.stack import run_pulumi_func

from components.environment import Environment, EnvironmentArgs
from components.observation import Observation
from plan.semantic import SECRET
from tests.plan.stacks import PREFIX, ROOT, Change, as_pulumi_hands_it, changed, plan_of, put

PROJECT = "blockchain-dao"

Key = tuple[str, str]
"""The last part of a resource's type, and its name: a container has its service's name."""


@dataclasses.dataclass
class Registered:
    """One resource as the engine would see it."""

    type: str
    name: str
    urn: str
    parent: str
    inputs: dict[str, Any]
    secrets: set[str]
    """Inputs that are secret as a whole, or have a secret inside."""
    ignore_changes: list[str]
    delete_before_replace: bool
    protect: bool
    retain_on_delete: bool
    dependencies: list[str]
    property_dependencies: dict[str, list[str]]
    outputs: dict[str, Any] | None = None
    """What `register_outputs` gave; None when it was never called."""
    registrations: int = 0
    """How often `register_outputs` was called."""

    @property
    def kind(self) -> str:
        return self.type.rsplit(":", 1)[-1]

    @property
    def key(self) -> Key:
        return self.kind, self.name


@dataclasses.dataclass
class Call:
    """One invoke: a data source that was asked."""

    token: str
    args: dict[str, Any]
    secrets: set[str]


Answer = Callable[[Call], dict[str, Any]]


@dataclasses.dataclass
class Run:
    """All that one run of a program set going."""

    resources: dict[Key, Registered] = dataclasses.field(default_factory=dict)
    calls: list[Call] = dataclasses.field(default_factory=list)
    outputs: dict[str, Any] = dataclasses.field(default_factory=dict)
    secret_outputs: set[str] = dataclasses.field(default_factory=set)
    log: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    error: BaseException | None = None

    def __getitem__(self, key: Key) -> Registered:
        return self.resources[key]

    def of(self, kind: str) -> dict[str, Registered]:
        """Every resource of a kind, by name."""
        return {name: one for (its, name), one in self.resources.items() if its == kind}

    def custom(self) -> dict[str, Registered]:
        """Every resource that a provider makes, by name."""
        return {one.name: one for one in self.resources.values() if not one.type.startswith("blockchain:")}

    def parent(self, one: Registered) -> str:
        """The name of a resource's parent; the stack's own is empty."""
        return next((other.name for other in self.resources.values() if other.urn == one.parent), "")

    def after(self, one: Registered) -> set[str]:
        """The names of what a resource waits for."""
        names = {other.urn: other.name for other in self.resources.values()}
        return {names[urn] for urn in one.dependencies}

    def warnings(self) -> list[str]:
        return [text for level, text in self.log if level == "WARNING"]


class Recorder(mocks.MockMonitor):
    """Keeps the whole request of each resource: mocks show inputs only."""

    def __init__(self, answer: Answer | None) -> None:
        super().__init__(_Mocks())
        self.run = Run()
        self._answer = answer
        self._lock = threading.Lock()

    def RegisterResource(self, request: Any) -> Any:
        response = super().RegisterResource(request)
        if request.type == "pulumi:pulumi:Stack":
            return response
        raw = rpc.deserialize_properties(request.object, keep_unknowns=True)
        seen = Registered(
            type=request.type,
            name=request.name,
            urn=response.urn,
            parent=request.parent,
            inputs={key: plain(value) for key, value in raw.items()},
            secrets={key for key, value in raw.items() if has_secret(value)},
            ignore_changes=list(request.ignoreChanges),
            delete_before_replace=bool(request.deleteBeforeReplace),
            protect=bool(request.protect),
            retain_on_delete=bool(request.retainOnDelete),
            dependencies=list(request.dependencies),
            property_dependencies={key: list(one.urns) for key, one in request.propertyDependencies.items()},
        )
        with self._lock:
            assert seen.key not in self.run.resources, f"two resources are {seen.key}"
            self.run.resources[seen.key] = seen
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:
        given = rpc.deserialize_properties(request.outputs, keep_unknowns=True)
        with self._lock:
            for seen in self.run.resources.values():
                if seen.urn == request.urn:
                    seen.outputs = {key: plain(value) for key, value in given.items()}
                    seen.registrations += 1
        return super().RegisterResourceOutputs(request)

    def Invoke(self, request: Any) -> Any:
        raw = rpc.deserialize_properties(request.args, keep_unknowns=True)
        secrets = {key for key, value in raw.items() if has_secret(value)}
        call = Call(request.tok, {key: plain(value) for key, value in raw.items()}, secrets)
        with self._lock:
            self.run.calls.append(call)
            cast("_Mocks", self.mocks).answer = {} if self._answer is None else self._answer(call)
            return super().Invoke(request)


class _Mocks(mocks.Mocks):
    answer: dict[str, Any]

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        outputs = dict(args.inputs)
        if args.typ == "docker:index/image:Image":  # what the provider alone can tell
            outputs["repoDigest"] = f"{outputs['imageName']}@built"
        return f"{args.name}-id", outputs

    def call(self, args: mocks.MockCallArgs) -> Any:
        if "image-exists.sh" in str(args.args.get("command")):
            return {"stdout": IMAGES.get(args.args["command"].split()[-1], "here")}
        return self.answer


IMAGES: dict[str, str] = {"registry.example/nowhere:1": "missing"}
"""What `image-exists.sh` says of images; `here` of all others."""


class _Log(logging.Handler):
    def __init__(self, lines: list[tuple[str, str]]) -> None:
        super().__init__(logging.INFO)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append((record.levelname, record.getMessage()))


def plain(value: Any) -> Any:
    """A value without the marks of secrets."""
    if rpc.is_rpc_secret(value):
        return plain(rpc.unwrap_rpc_secret(value))
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


def has_secret(value: Any) -> bool:
    """Whether a value is a secret or has one inside."""
    if rpc.is_rpc_secret(value):
        return True
    if isinstance(value, Mapping):
        return any(has_secret(one) for one in value.values())
    return any(has_secret(one) for one in value) if isinstance(value, list) else False


@contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop for one run. The SDK makes one more for each thread that a registration runs in: all are closed."""
    made: list[asyncio.AbstractEventLoop] = []

    def in_thread() -> None:
        made.append(asyncio.new_event_loop())
        asyncio.set_event_loop(made[-1])

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    executor = ThreadPoolExecutor(8, "register", initializer=in_thread)
    loop.set_default_executor(executor)
    quiet = logging.getLogger("asyncio")
    level = quiet.level
    # A program that fails leaves futures that nobody looks at; the SDK's own runner silences them too.
    quiet.setLevel(logging.CRITICAL)
    try:
        yield loop
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=5))
        executor.shutdown(wait=True)
        for one in (*made, loop):
            one.close()
        asyncio.set_event_loop(None)
        quiet.setLevel(level)


def attempt(program: Callable[[], Any], *, stack: str, answer: Answer | None = None, preview: bool = False) -> Run:
    """Run a program to the end of all that it set going; what it raised, in an apply too, is the run's `error`."""
    recorder = Recorder(answer)
    logger = logging.Logger("program", logging.INFO)
    logger.addHandler(_Log(recorder.run.log))

    async def to_the_end() -> None:
        set_root_resource(cast(Any, None))  # the last run's stack
        mocks.set_mocks(recorder.mocks, project=PROJECT, stack=stack, preview=preview, logger=logger, monitor=recorder)
        SETTINGS.outputs.clear()  # of a run that failed: their loop is closed
        await run_pulumi_func(program)
        root = cast(Any, get_root_resource())
        for name, value in root.outputs.items():
            output = pulumi.Output.from_input(value)
            recorder.run.outputs[name] = await output.future()
            if await output.is_secret():
                recorder.run.secret_outputs.add(name)

    with _loop() as loop, warnings.catch_warnings():
        # pulumi_command warns of a resource of its own when it is first used.
        warnings.filterwarnings("ignore", "This resource is deprecated", DeprecationWarning)
        try:
            loop.run_until_complete(to_the_end())
        except (Exception, SystemExit) as error:
            recorder.run.error = error
    return recorder.run


def observed(labels: Mapping[str, Any] | None = None) -> Answer:
    """The answer of `hostctl observe`: a host that is as it was left, and these labels."""

    def answer(call: Call) -> dict[str, Any]:
        assert call.token == "command:local:run"
        return {"stdout": json.dumps({"host": "", "services": {}, "databases": {}, **(labels or {})}), **call.args}

    return answer


@contextmanager
def configured(raw: Mapping[str, Any], secret_keys: Sequence[str] = ()) -> Iterator[None]:
    """Pulumi's configuration as the engine hands it over: text in the environment, and which keys are secret."""
    values = {f"{PREFIX}{key}": value for key, value in as_pulumi_hands_it(raw).items()}
    names = [f"{PREFIX}{key}" for key in secret_keys]
    told = {"PULUMI_CONFIG": json.dumps(values), "PULUMI_CONFIG_SECRET_KEYS": json.dumps(names)}
    with mock.patch.dict(os.environ, told):
        set_all_config(values, names)
        try:
            yield
        finally:
            set_all_config({}, [])


def run_main(
    stack: str,
    *changes: Change,
    secrets: Mapping[str, Any] | None = None,
    secret_keys: Sequence[str] = ("secrets",),
    labels: Mapping[str, Any] | None = None,
    preview: bool = True,
) -> Run:
    """The project's own `__main__.py` over a stack file with changes; `secrets` as the engine decrypts them."""
    raw = changed(stack, *changes)
    if secrets is not None:
        raw["secrets"] = dict(secrets)
    with configured(raw, [key for key in secret_keys if key in raw]):
        return attempt(main_program, stack=stack, answer=observed(labels), preview=preview)


def main_program() -> None:
    """The project's own program."""
    runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__")


DIGEST = "d" * 64


def run_environment(
    stack: str,
    *changes: Change,
    secrets: Mapping[str, str] | None = None,
    labels: Mapping[str, Any] | None = None,
    preview: bool = False,
) -> Run:
    """An Environment alone, over a stack file with changes; not observed unless there are labels."""
    given = dict.fromkeys(secrets or {}, SECRET)
    plan = plan_of(stack, *changes, *([put("secrets", given)] if given else []))

    def program() -> None:
        opened = {name: pulumi.Output.secret(value) for name, value in (secrets or {}).items()}
        seen = {"host": "", "services": {}, "databases": {}, **labels} if labels is not None else None
        observation = (
            Observation.without("nobody looked") if seen is None else Observation(pulumi.Output.from_input(seen), None)
        )
        made = Environment(stack, EnvironmentArgs(plan, DIGEST, opened, observation, preview))
        for name, value in made.outputs().items():
            pulumi.export(name, value)

    return attempt(program, stack=stack, preview=preview)
