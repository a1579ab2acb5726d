"""A bare server says what it lacks, or gets it from one mirror alone; cut off half-way, the next run finishes it."""

from __future__ import annotations

import base64
import json
import os
import time
from typing import Any

import pytest

from hostctl import pack
from tests.lab.host import LabHost
from tests.lab.lab import Lab

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]

MIRROR = "http://deb.debian.org/debian"
PYZ = "/root/hostctl.pyz"
# What `hostctl host` asks for first of all on a server; the answer as JSON, with the seconds that it took.
CALL = """\
import json, os, sys, time
sys.path.insert(0, "/root/hostctl.pyz")
os.umask(0o077)
from hostctl import compose_program, prerequisites
from hostctl.errors import HostctlError
began = time.monotonic()
told = {}
try:
    told["words"] = prerequisites.ensure(json.loads(sys.argv[1]))
except HostctlError as error:
    told["error"] = str(error)
told["seconds"] = time.monotonic() - began
print(json.dumps(told))
"""
# A plugin as Docker's client wants one; it says what it was asked.
PLUGIN = """\
#!/bin/sh
if [ "$1" = docker-cli-plugin-metadata ]; then
    echo '{"SchemaVersion": "0.1.0", "Vendor": "test", "Version": "2.30.0", "ShortDescription": "compose"}'
else
    echo "plugin: $*"
fi
"""
SNAPSHOT = "find / -xdev -newer /root/before -not -path '/proc/*' -not -path '/sys/*' -not -path '/root/*' | sort"


@pytest.fixture
def bare(lab: Lab) -> LabHost:
    """A server with nothing but sshd and Python."""
    host = lab.new_host("bare")
    put_hostctl(host)
    return host


def put_hostctl(host: LabHost) -> None:
    packed = base64.b64encode(pack.pack()).decode()
    host.run(f"base64 -d > {PYZ}", stdin=packed)
    host.put("/root/ensure.py", CALL)


def ensure(host: LabHost, timeout: float = 400, **spec: Any) -> dict[str, Any]:
    text = json.dumps({"disk": 10**8, **spec})  # the lab's /opt is small
    return json.loads(host.run(["python3", "-IS", "/root/ensure.py", text], timeout=timeout))


def sources(host: LabHost) -> str:
    """apt's settings and its indexes, as they are on the host."""
    return host.run("find /etc/apt /var/lib/apt/lists /tmp -type f -exec sha256sum {} + | sort")


def test_a_bare_server_says_what_it_lacks_and_gets_it_from_the_mirror_alone(bare: LabHost) -> None:
    bare.run("touch /root/before; sleep 0.1")
    told = ensure(bare)
    lines = told["error"].splitlines()
    assert [line.split(":")[0] for line in lines[1:]] == [
        "- Docker is not installed",
        "- docker-compose is not installed",
    ]
    assert "apt-get install docker.io docker-compose" in lines[1]
    assert bare.run(SNAPSHOT).split() == [], "nothing was touched"

    # The host's own source is no good: what is installed can only come from the mirror.
    bare.put("/etc/apt/sources.list", "deb http://192.0.2.1/debian bookworm main\n")
    before = sources(bare)
    told = ensure(bare, install=True, mirror=MIRROR)
    assert told["words"][0] == f"installed docker.io docker-compose (apt-get, from {MIRROR} alone)", told
    assert sources(bare) == before, "nothing of the mirror stays"
    assert bare.run(["ls", "/var/cache/apt/archives"]).split() == ["lock", "partial"]
    assert bare.run("docker version --format '{{.Server.Version}}'").startswith("20.10.")
    assert "1.29" in bare.run("docker-compose version --short", timeout=90)
    # Ours is 077; what packages make is for everybody.
    assert bare.run("stat -c %a /usr/bin/docker /etc/docker /usr/share/doc/docker.io").split() == ["755", "755", "755"]

    again = [ensure(bare, install=True, mirror=MIRROR) for _ in range(8)]
    assert [one["words"] for one in again] == [[]] * 8
    assert min(one["seconds"] for one in again) < 0.05, again

    bare.run(["systemctl", "stop", "docker"], timeout=90)
    assert (
        "Docker is installed, but does not run (/var/run/docker.sock): `systemctl enable --now docker`"
        in (ensure(bare)["error"])
    )
    assert ensure(bare, install=True)["words"] == ["Docker started"]
    the_plugin_alone_gets_a_shim(bare)


def the_plugin_alone_gets_a_shim(host: LabHost) -> None:
    """Debian 12 has no package of the plugin: one of the test's own, run by Docker's real client."""
    host.run("DEBIAN_FRONTEND=noninteractive apt-get remove -qq -y docker-compose", timeout=120)
    host.put("/usr/libexec/docker/cli-plugins/docker-compose", PLUGIN, "0755")
    assert ensure(host)["words"] == ["/usr/local/bin/docker-compose written: it runs `docker compose`"]
    assert ensure(host)["words"] == []
    assert host.ssh("docker-compose -f 'a b.yml' up -d").stdout == "plugin: compose -f a b.yml up -d\n"
    remove = (
        f"import sys; sys.path.insert(0, {PYZ!r}); from hostctl import compose_program as c; print(c.remove_shim())"
    )
    assert host.run(["python3", "-IS", "-c", remove]) == "['/usr/local/bin/docker-compose removed']\n"
    assert host.run("command -v docker-compose || echo none") == "none\n"


def begin(host: LabHost, until: str) -> None:
    """Start an install, and come back when this is true."""
    host.put("/root/spec.json", json.dumps({"disk": 10**8, "install": True, "mirror": MIRROR}))
    host.run('cd /root && python3 -IS ensure.py "$(cat spec.json)" >/root/out 2>&1 & echo $! > /root/pid')
    deadline = time.monotonic() + 240
    while host.call(until).returncode:
        assert time.monotonic() < deadline, host.run("cat /root/out")
        time.sleep(0.05)


def finish(host: LabHost) -> None:
    """Whatever is there now, the next run makes it whole."""
    told = ensure(host, install=True, mirror=MIRROR)
    assert "error" not in told, told
    assert ensure(host)["words"] == []
    assert host.run("dpkg --audit") == ""
    assert host.run("docker ps -q") == ""
    assert "1.29" in host.run("docker-compose version --short", timeout=90)


def test_an_install_that_is_killed_half_way_is_finished_by_the_next_run(bare: LabHost) -> None:
    begin(bare, until="pgrep -x dpkg")
    bare.run("kill -KILL $(cat /root/pid)")
    finish(bare)


@pytest.mark.skipif(not os.environ.get("SOAK"), reason="takes half a minute: `make soak`")
def test_a_server_that_loses_its_power_half_way_is_finished_after_it(bare: LabHost) -> None:
    """apt and dpkg end where they are."""
    begin(bare, until="grep -q 'status half-configured docker.io\\|status unpacked docker.io' /var/log/dpkg.log")
    bare.reboot(hard=True)
    finish(bare)
    assert "hostctl" not in bare.run("ls /tmp"), "what the killed run left is gone"
