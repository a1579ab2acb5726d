"""The lab itself: its servers are what the other tests take them for, and every knob does what it says."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from typing import Any

import pytest

from standin.databases import Target, check
from tests.lab import images
from tests.lab.host import FOREIGN, LabHost
from tests.lab.kinds import SERVICES
from tests.lab.lab import Lab
from tests.lab.machine import LabError
from tests.program_copy import REPOSITORY

pytestmark = [pytest.mark.host, pytest.mark.timeout(150)]

OVER_SSH = str(REPOSITORY / "components/scripts/over-ssh.sh")


def over_ssh(host: LabHost, command: str, port: int = 22, wrong: bool = False) -> subprocess.CompletedProcess[str]:
    """The project's own way to a server."""
    address = host.address if port == 22 else host.gateway
    words = ["sh", OVER_SSH, address, str(port), "root", host.host_key, command]
    env = {"PATH": "/usr/bin:/bin"} | host.agent_env(wrong)
    return subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=False)


def get(host: LabHost, port: int, path: str = "/", method: str = "GET", body: Any = None) -> Any:
    """An HTTP answer's JSON (or text), from outside of the server."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{host.address}:{port}{path}", data, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        text = answer.read().decode()
    return json.loads(text) if text.startswith(("{", "[", '"')) else text


def listens(host: LabHost, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(3)
        return probe.connect_ex((host.address, port)) == 0


def tiny(host: LabHost, name: str, *words: str) -> None:
    """A small container on the server that nobody else's is."""
    host.run(["docker", "run", "-d", "--name", name, "--restart", "always", *words, images.tiny()])


def test_what_runs_on_a_server_already_answers_from_outside(tencent: LabHost, alibaba: LabHost) -> None:
    """P2, P3: every documented port, the databases by a real login, as such servers have it (D11)."""
    for host in (tencent, alibaba):
        for name, ports in SERVICES[host.kind].items():
            assert all(listens(host, port) for port in ports), name
            if name in host.admins:
                user, password = host.admins[name]
                answer = check(Target(name, host.address, ports[0], user, password), timeout=5)
                assert answer.ok, f"{name}: {answer}"
                refused = check(Target(name, host.address, ports[0], user, "wrong"), timeout=5)
                assert refused.reason == "refused", f"{name}: {refused}"
        assert set(host.containers()) == {FOREIGN}
        assert get(host, 8206, "/health")["stand_in"] is True
    assert get(tencent, 9200)["tagline"] == "You Know, for Search"
    assert get(tencent, 8080, "/v1/meta")["version"]
    assert bolt_answers(tencent, "neo4j", tencent.admins["neo4j"][1])
    assert not bolt_answers(tencent, "neo4j", "wrong")


def bolt_answers(host: LabHost, user: str, password: str) -> bool:
    """Bolt's greeting and HELLO: whether the login is taken."""
    with socket.create_connection((host.address, 7687), timeout=5) as connection:
        connection.sendall(b"\x60\x60\xb0\x17" + b"\x00\x00\x04\x04" + bytes(12))
        assert connection.recv(4) == b"\x00\x00\x04\x04"
        hello = b"\xb1\x01" + f"principal {user} credentials {password}".encode()
        connection.sendall(len(hello).to_bytes(2, "big") + hello + b"\x00\x00")
        return connection.recv(4)[2:4] == b"\xb1\x70"


def test_a_login_takes_the_pinned_key_and_the_right_agent(tencent: LabHost) -> None:
    before = tencent.ssh_connections()
    assert over_ssh(tencent, "echo here; hostname").stdout.split() == ["here", "tencent"]
    assert tencent.ssh("cat", stdin="words").stdout == "words"
    assert tencent.ssh_connections() == before + 2
    assert over_ssh(tencent, "true", wrong=True).returncode == 255
    assert tencent.ssh_connections() == before + 2, "a refused login is no connection"
    limits = tencent.run("sshd -T")
    assert "maxstartups 10:30:100" in limits
    assert "maxsessions 10" in limits


def test_the_two_servers_are_two(tencent: LabHost, alibaba: LabHost) -> None:
    assert tencent.host_key != alibaba.host_key
    assert tencent.address != alibaba.address
    assert not tencent.address.startswith("127.")
    assert alibaba.ssh("hostname").stdout == "alibaba\n"


def test_reset_leaves_nothing_of_ours_and_all_that_is_others(tencent: LabHost, alibaba: LabHost) -> None:
    foreign, rules = tencent.containers()[FOREIGN].same, tencent.run("iptables-save | grep -v '^[#:]'")
    tencent.run(["docker", "network", "create", "--subnet", "172.28.84.0/24", "blockchain-tencent"])
    tiny(tencent, "identity-service", "--network", "blockchain-tencent", "-p", "8402:8000", "-v", "ours:/data")
    assert get(tencent, 8402) == "somebody else's\n"
    tencent.put("/opt/blockchain-services/state/host.json", "{}")
    tencent.put("/etc/systemd/system/blockchain-dao-firewall.service", unit("true"))
    tencent.run(["systemctl", "enable", "blockchain-dao-firewall.service"])
    tencent.run("iptables -N OURS; iptables -A OURS -j DROP; iptables -I DOCKER-USER -s 192.0.2.9 -j OURS")
    tencent.run(["mariadb", "-e", "CREATE DATABASE identity; CREATE USER ours@'%' IDENTIFIED BY 'x'"])
    in_postgres = "setpriv --reuid postgres --regid postgres --init-groups psql -c"
    tencent.run(f"{in_postgres} 'CREATE ROLE ours LOGIN'; {in_postgres} 'CREATE DATABASE ours OWNER ours'")
    redis = f"REDISCLI_AUTH={tencent.admins['redis'][1]} redis-cli --no-auth-warning"
    tencent.run(f"{redis} SET a b && {redis} ACL SETUSER ours on")
    tencent.stop_service("mysql")
    get(alibaba, 8500, "/v1/agent/service/register", "PUT", {"ID": "one", "Name": "identity-service", "Port": 8502})

    began = time.monotonic()
    tencent.reset()
    assert time.monotonic() - began < 10
    alibaba.reset()

    assert tencent.containers()[FOREIGN].same == foreign
    assert tencent.ours() == {}
    assert tencent.run("iptables-save | grep -v '^[#:]'") == rules
    assert set(tencent.files("/opt")) <= {"containerd", "containerd/bin", "containerd/lib"}
    assert tencent.run("systemctl is-enabled blockchain-dao-firewall.service", code=None) == "not-found\n"
    assert tencent.run("docker network ls --format '{{.Name}}' | sort").split() == ["bridge", "host", "none"]
    assert tencent.run("docker volume ls -q").split() == ["their-data"]
    assert tencent.run(["mariadb", "-BN", "-e", "SHOW DATABASES LIKE 'identity'"]) == ""
    assert "ours" not in tencent.run(["mariadb", "-BN", "-e", "SELECT user FROM mysql.global_priv"])
    assert "ours" not in tencent.run(f"{in_postgres} '\\l'; {in_postgres} '\\du'")
    assert tencent.run(f"{redis} DBSIZE; {redis} ACL USERS").split() == ["0", "default"]
    assert get(alibaba, 8500, "/v1/agent/services") == {}


def test_reset_takes_images_away_when_told(tencent: LabHost) -> None:
    name = images.stand_in()
    tencent.load_image(name)
    assert tencent.run(["docker", "image", "inspect", name])
    tencent.reset()
    assert tencent.run(["docker", "image", "inspect", name])
    tencent.reset(images=True)
    assert tencent.run(["docker", "image", "inspect", name], code=1) == "[]\n"
    assert tencent.containers()[FOREIGN].state == "running"


def unit(command: str) -> str:
    """A unit file as hostctl installs one."""
    return (
        "[Unit]\nDescription=ours\nBefore=docker.service\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\n"
        f"ExecStart={command}\n\n[Install]\nWantedBy=multi-user.target\n"
    )


@pytest.mark.parametrize("hard", [False, True])
def test_a_reboot_starts_enabled_units_before_docker_and_containers_after(tencent: LabHost, hard: bool) -> None:
    seen = "/bin/sh -c 'test -S /run/docker.sock && echo late >>/opt/seen || echo early >>/opt/seen'"
    tencent.put("/etc/systemd/system/blockchain-dao-firewall.service", unit(seen))
    tencent.run("systemctl daemon-reload && systemctl enable blockchain-dao-firewall.service")
    tencent.put("/run/gone", "memory")
    tencent.put("/opt/kept", "disk")
    tiny(tencent, "ours", "-p", "8402:8000")
    before, key, foreign = tencent.ours()["ours"], tencent.host_key, tencent.containers()[FOREIGN]
    tencent.reboot(hard)
    tencent.wait_for(lambda: listens(tencent, 8402), "the container is back")
    after = tencent.ours()["ours"]
    assert (after.id, after.state) == (before.id, "running")
    assert after.started_at > before.started_at
    assert tencent.containers()[FOREIGN].id == foreign.id
    assert tencent.read("/opt/seen") == "early\n"
    assert tencent.run("ls -d /opt/kept /run/gone 2>/dev/null", code=2) == "/opt/kept\n"
    assert tencent.host_key == key
    assert tencent.run("systemctl is-active blockchain-dao-firewall docker ssh").split() == ["active"] * 3


def test_systemctl_refuses_what_it_cannot_do(tencent: LabHost) -> None:
    assert tencent.run("systemctl is-system-running") == "running\n"
    assert tencent.run("test -d /run/systemd/system && echo yes") == "yes\n"
    assert "could not be found" in tencent.call(["systemctl", "start", "no-such"]).stderr
    assert "doesn't know 'set-property'" in tencent.call(["systemctl", "set-property", "docker", "x=y"]).stderr
    tencent.put("/etc/systemd/system/blockchain-dao-firewall.service", unit("false"))
    failed = tencent.call(["systemctl", "enable", "--now", "blockchain-dao-firewall.service"])
    assert failed.returncode == 1
    assert "failed" in failed.stderr
    assert tencent.run("systemctl is-active blockchain-dao-firewall", code=3) == "failed\n"
    assert tencent.run("systemctl is-enabled blockchain-dao-firewall") == "enabled\n"
    tencent.run("systemctl disable blockchain-dao-firewall")
    assert tencent.run("systemctl is-enabled blockchain-dao-firewall", code=1) == "disabled\n"


def test_consul_keeps_a_registry(alibaba: LabHost) -> None:
    asked = {"ID": "one", "Name": "identity-service", "Port": 8502, "Tags": ["ours"], "Check": {"HTTP": "http://x"}}
    get(alibaba, 8500, "/v1/agent/service/register", "PUT", asked)
    (kept,) = get(alibaba, 8500, "/v1/agent/services").values()
    assert (kept["Service"], kept["Port"], kept["Tags"]) == ("identity-service", 8502, ["ours"])
    alibaba.stop_service("consul")
    assert not listens(alibaba, 8500)
    alibaba.start_service("consul")
    assert get(alibaba, 8500, "/v1/agent/services") == {"one": kept}
    get(alibaba, 8500, "/v1/agent/service/deregister/one", "PUT")
    assert get(alibaba, 8500, "/v1/agent/services") == {}


def test_more_servers_on_demand_with_less_on_them(lab: Lab) -> None:
    with pytest.raises(LabError, match="tencent has no consul"):
        lab.new_host("tencent", without=("consul",))
    host = lab.new_host("tencent", without=("neo4j", "weaviate"))
    try:
        assert listens(host, 3306)
        assert not listens(host, 7474)
        assert not listens(host, 8080)
        assert host.ssh("docker-compose version --short").stdout.startswith("1.29.")
    finally:
        lab.discard(host)


@pytest.mark.timeout(400)  # builds its image
def test_a_bare_server_has_no_docker_and_can_get_one(lab: Lab) -> None:
    host = lab.new_host("bare")
    try:
        assert host.ssh("command -v docker || python3 -c 'print(1)'").stdout == "1\n"
        assert host.ssh("test -e /usr/bin/docker || id -u").stdout == "0\n"
        install = "apt-get update -qq && apt-get install -yqq --no-install-recommends docker.io docker-compose"
        said = host.ssh(f"export DEBIAN_FRONTEND=noninteractive; {install}", timeout=120)
        assert "127.0.0.1:8099" in host.read("/etc/apt/sources.list"), said
        assert host.ssh("systemctl is-active docker && docker-compose version --short").stdout[:11] == "active\n1.29"
        host.load_image(images.tiny())
        tiny(host, "ours", "-p", "8402:8000")
        assert get(host, 8402) == "somebody else's\n"
        host.reboot()
        host.wait_for(lambda: listens(host, 8402), "the container is back")
    finally:
        lab.discard(host)
