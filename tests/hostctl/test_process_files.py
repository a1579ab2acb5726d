"""What a host's and a service's parts of supervisord.conf must say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hostctl import process_files
from hostctl.definitions import parse_host, parse_service
from tests.hostctl import samples

Edit = Callable[[str], str]


def block_problems(edit: Edit) -> list[str]:
    value = samples.service()
    value["parts"][1]["text"] = edit(value["parts"][1]["text"])
    return process_files.block_problems(parse_service(samples.raw(value), value["name"]))


def header_problems(edit: Edit, **changes: Any) -> list[str]:
    value = samples.host(**changes)
    value["parts"][0]["text"] = edit(value["parts"][0]["text"])
    return process_files.header_problems(parse_host(samples.raw(value)))


def test_the_samples_are_sound() -> None:
    assert block_problems(lambda text: text) == []
    assert header_problems(lambda text: text) == []


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: "", "must be one block, [program:identity-service]"),
        (lambda text: text.replace("identity-service]", "other]"), "must be one block"),
        (lambda text: text + "[supervisord]\nx=1\n", "must be one block"),
        (lambda text: text + text, "must be one block"),
        (lambda text: text.replace("launch identity-service", "launch other"), "must say command=bin/hostctl launch"),
        (lambda text: text.replace("command=bin", 'command="%(here)s/bin'), "must say command=bin/hostctl launch"),
        (lambda text: text.replace("logs/", "%(here)s/logs/"), "must say stdout_logfile=logs/identity-service.log"),
        (lambda text: text.replace("autostart=true", "autostart=false"), "must say autostart=true"),
        (lambda text: text + "numprocs=2\n", "must not set numprocs"),
        (lambda text: text + "directory=%(here)s\n", "must not set directory"),
        (lambda text: text.rstrip(), "must end with a line feed"),
        (lambda text: "nonsense\n" + text, "File contains no section headers"),
    ],
)
def test_a_bad_block(edit: Edit, message: str) -> None:
    assert any(message in problem for problem in block_problems(edit)), block_problems(edit)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda text: text.replace("%(here)s/run/supervisor.sock\nchmod", "/tmp/x\nchmod"),
            "must say file=%(here)s/run/",
        ),
        (lambda text: text.replace("umask", "nodaemon=true\numask"), "must not set nodaemon"),
        (lambda text: text.replace("umask", "directory=/tmp\numask"), "must not set a directory"),
        (lambda text: text.replace("[rpcinterface:supervisor]", "[x]"), "must say supervisor.rpcinterface_factory="),
        (lambda text: text + samples.RELOADER, "[program:reloader] is not the host's"),
    ],
)
def test_a_bad_header(edit: Edit, message: str) -> None:
    assert any(message in problem for problem in header_problems(edit)), header_problems(edit)


def test_the_reloader_is_the_one_program_of_a_host() -> None:
    reloader = [".venv/bin/python", "-m", "devloop"]
    assert header_problems(lambda text: text + samples.RELOADER, reloader=reloader) == []
    assert "must hold the block [program:reloader]" in header_problems(lambda text: text, reloader=reloader)[0]


def test_only_what_is_no_program_belongs_to_supervisord_itself() -> None:
    def settings(edit: Edit) -> str:
        value = samples.host()
        value["parts"][0]["text"] = edit(value["parts"][0]["text"])
        return process_files.own_settings(parse_host(samples.raw(value)))

    same = settings(lambda text: text)
    assert settings(lambda text: "; a remark\n" + text + samples.RELOADER) == same
    assert settings(lambda text: text.replace("umask=077", "umask=027")) != same


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x=%(nonsense)s\n", "[program:a] x=%(nonsense)s can't be expanded"),
        ("x=100%\n", "can't be expanded"),
        ("[include]\nfiles=/etc/*\n", "must not include other files"),
        ("a line of its own\n", "supervisord.conf: "),
    ],
)
def test_a_whole_file_that_supervisord_would_not_read(line: str, message: str) -> None:
    assert message in (process_files.whole_problem(samples.HEADER + "[program:a]\n" + line) or "")


def test_it_reads_what_supervisord_reads() -> None:
    assert process_files.whole_problem(samples.HEADER + "[program:a]\ncommand=x ; a remark\n") is None
