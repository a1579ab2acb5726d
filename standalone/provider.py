"""What pulumi-command 1.2.1 does with a `command:*` resource: its checks, defaults, commands and outputs."""

from __future__ import annotations

import os
from typing import cast

from standalone.control import Control
from standalone.errors import UserError
from standalone.jobs import Job, OnLine, Output
from standalone.values import (
    ASSET_SIGNATURES,
    SIGNATURE,
    UNKNOWN,
    Props,
    Redactor,
    Secret,
    Unknown,
    Value,
    plain,
)

LOCAL = "command:local:Command"
REMOTE = "command:remote:Command"
PROVIDER = "pulumi:providers:command"
RUN = "command:local:run"
PLUGIN_INPUTS: Props = {"__internal": {}, "__pulumi-go-provider-version": "1.2.0"}

_TEXTS = ("create", "update", "delete", "stdin", "dir")
_SHARED = {
    "create",
    "update",
    "delete",
    "stdin",
    "logging",
    "environment",
    "addPreviousOutputInEnv",
    "triggers",
}
_KNOWN = {
    LOCAL: _SHARED | {"dir", "interpreter", "assetPaths", "archivePaths"},
    REMOTE: _SHARED | {"connection"},
    RUN: {"command", "stdin", "dir", "interpreter", "environment", "logging", "addPreviousOutputInEnv"},
}
_LOGGING = ("stdout", "stderr", "stdoutAndStderr", "none")
_CONNECTION_DEFAULTS: Props = {"dialErrorLimit": 10, "perDialTimeout": 15, "port": 22, "user": "root"}
_CONNECTION_SECRETS = ("password", "privateKey", "privateKeyPassword")


def executable(type_: str, custom: bool) -> bool:
    """Whether standalone can do what a resource of this type needs."""
    return not custom or type_ in (LOCAL, REMOTE, PROVIDER)


def _opened(value: Value) -> Value:
    return value.value if isinstance(value, Secret) else value


def check(type_: str, inputs: Props) -> tuple[Props, list[str]]:
    """The inputs as the provider's Check leaves them (defaults filled in), and what is wrong with them."""
    problems = [f"{key} is not an input of {type_}" for key in inputs if key not in _KNOWN[type_]]
    for key in _TEXTS:
        if not isinstance(_opened(inputs.get(key)), (str, Unknown, type(None))):
            problems.append(f"{key} must be text")
    problems += _check_environment(_opened(inputs.get("environment")))
    if not isinstance(_opened(inputs.get("addPreviousOutputInEnv")), (bool, Unknown, type(None))):
        problems.append("addPreviousOutputInEnv must be true or false")
    logging = _opened(inputs.get("logging"))
    if logging is not None and not isinstance(logging, Unknown) and logging not in _LOGGING:
        problems.append(f"logging must be one of {', '.join(_LOGGING)}")
    interpreter = _opened(inputs.get("interpreter"))
    if isinstance(interpreter, list) and not all(isinstance(_opened(w), (str, Unknown)) for w in interpreter):
        problems.append("interpreter must be a list of texts")
    for key in ("assetPaths", "archivePaths"):
        if inputs.get(key):
            problems.append(f"{key}: files as outputs need the Pulumi CLI")
    if _has_asset(inputs):
        problems.append("assets and archives need the Pulumi CLI")
    if type_ == REMOTE:
        inputs, found = _check_connection(inputs)
        problems += found
    return inputs, problems


def _check_environment(environment: Value) -> list[str]:
    if environment is None or isinstance(environment, Unknown):
        return []
    if not isinstance(environment, dict):
        return ["environment must map names to texts"]
    wrong = [key for key, value in environment.items() if not isinstance(_opened(value), (str, Unknown))]
    return [f"environment.{key} must be text" for key in wrong]


def _has_asset(value: Value) -> bool:
    value = _opened(value)
    if isinstance(value, dict):
        return value.get(SIGNATURE) in ASSET_SIGNATURES or any(_has_asset(v) for v in value.values())
    return isinstance(value, list) and any(_has_asset(v) for v in value)


def _check_connection(inputs: Props) -> tuple[Props, list[str]]:
    connection = _opened(inputs.get("connection"))
    if isinstance(connection, Unknown):
        return inputs, []
    if not isinstance(connection, dict):
        return inputs, ["connection is missing"]
    if not isinstance(_opened(connection.get("host")), (str, Unknown)):
        return inputs, ["connection.host is missing"]
    filled: Props = {**_CONNECTION_DEFAULTS, **connection}
    for key in _CONNECTION_SECRETS:
        if key in filled and not isinstance(filled[key], Secret):
            filled[key] = Secret(filled[key])
    problems = ["connection.proxy needs the Pulumi CLI"] if filled.get("proxy") else []
    return {**inputs, "connection": Secret(dict(sorted(filled.items())))}, problems


def learn_secrets(redact: Redactor, inputs: Props) -> None:
    """Remember what must not be shown. A connection is secret as a whole, but its host and user are no secrets."""
    for key, value in inputs.items():
        if key != "connection":
            redact.learn(value)
            continue
        inside = _opened(value)
        if isinstance(inside, dict):
            redact.learn({k: Secret(v) for k, v in inside.items() if k in _CONNECTION_SECRETS})


def unknown_outputs(inputs: Props) -> Props:
    """The outputs of a resource that will be created or updated, as far as they are known before."""
    return {**inputs, "stderr": UNKNOWN, "stdout": UNKNOWN}


def outputs(inputs: Props, result: Output, secret_outputs: list[str], redact: Redactor) -> Props:
    """The outputs after a command: the inputs, and what it printed.

    The provider itself leaves `stdout` public when `stdin` is secret; here a text that repeats a known secret becomes
    secret too, so that none is ever stored or shown in clear.
    """
    printed: Props = {"stderr": result.stderr, "stdout": result.stdout}
    for key, text in printed.items():
        if key in secret_outputs or redact.leaks(cast(str, text)):
            printed[key] = Secret(text)
    marked: Props = {k: Secret(_opened(v)) if k in secret_outputs else v for k, v in inputs.items()}
    return {**marked, **printed}


def job(command_key: str, inputs: Props, before: Props) -> Job | None:
    """The command to run for `create`, `update` or `delete`; None when there is none."""
    opened = cast("Props", plain(inputs))
    command = opened.get(command_key)
    if command_key == "update" and command is None:
        command = opened.get("create")
    if command is None:
        return None
    environment = {key: str(value) for key, value in cast("Props", opened.get("environment") or {}).items()}
    if opened.get("addPreviousOutputInEnv") is not False:
        for key in ("stdout", "stderr"):
            text = plain(before.get(key))
            if text:
                environment[f"PULUMI_COMMAND_{key.upper()}"] = str(text)
    logging = opened.get("logging")
    interpreter = cast("list[str]", opened.get("interpreter") or ["/bin/sh", "-c"])
    return Job(
        command=str(command),
        stdin=cast("str | None", opened.get("stdin")),
        environment=environment,
        directory=cast("str | None", opened.get("dir")),
        interpreter=tuple(interpreter),
        connection=cast("Props | None", opened.get("connection")),
        log_stdout=logging in (None, "stdout", "stdoutAndStderr"),
        log_stderr=logging in (None, "stderr", "stdoutAndStderr"),
    )


def run(work: Job, control: Control, on_line: OnLine) -> Output:
    """Run a command here or over SSH. Raises CommandFailed (Killed when we ended it)."""
    if work.connection is not None:
        from standalone.execute_ssh import run_remote

        return run_remote(work, control, on_line)
    from standalone.execute_local import run_local

    return run_local(work, control, on_line)


def invoke(token: str, args: Props, control: Control, redact: Redactor) -> Props:
    """Answer a function call. Only `command:local:run` is known. Raises UserError, CommandFailed."""
    if token != RUN:
        raise UserError(f"standalone can't answer the function {token}; it needs the Pulumi CLI")
    inputs, problems = check(RUN, args)
    if problems:
        raise UserError(f"{RUN}: {'; '.join(problems)}")
    work = job("command", inputs, {})
    if work is None:
        raise UserError(f"{RUN}: command is missing")
    result = run(work, control, lambda _stream, _line: None)
    printed: Props = {"stdout": result.stdout, "stderr": result.stderr}
    return {**inputs, **{k: Secret(v) if redact.leaks(str(v)) else v for k, v in printed.items()}}


def new_id(name: str) -> str:
    """An id as the provider makes it."""
    return f"{name}{os.urandom(4).hex()}"
