"""Both servers from bare to converged and away again, both engines (issue: "It must show", first two lines)."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import pytest

from plan.render import host_files
from tests.host import traces
from tests.host.servers import COUNT, ROOT, Server, broken_image
from tests.host.traces import sql
from tests.lab import images
from tests.lab.host import LabHost
from tests.lab.kinds import ADMINS
from tests.lab.program import has_cli

pytestmark = [pytest.mark.host, pytest.mark.timeout(900)]
GOLDEN = Path(__file__).parents[1] / "golden"
NEEDS = [("identity-service", "blockchain-service"), ("governance-service", "blockchain-service"),
         ("blockchain-service", "crosschain-service")]  # fmt: skip


@pytest.fixture
def both(tmp_path: Path, tencent: LabHost, alibaba: LabHost) -> list[Server]:
    return [Server(tmp_path / host.kind, host.kind, host) for host in (tencent, alibaba)]


def at_once(servers: list[Server], verb: str, engine: str = "standalone") -> list[tuple[str, int]]:
    """One verb on all servers at the same time; what each said, and its SSH connections."""
    found: dict[str, tuple[str, int]] = {}
    errors: list[BaseException] = []

    def one(server: Server) -> None:
        try:
            done, connections = server.program.measured(verb, engine=engine)
            found[server.stack] = (done.stdout + done.stderr, connections)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(server,)) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [found[server.stack] for server in servers]


def without_the_labs_own(text: str) -> list[str]:
    """A compose file's lines but for what a lab must have otherwise: secrets, the content's tag, digests of both."""
    dropped = r"    env_file:|      - \./secrets/|    image: |      blockchain-dao\.definition: "
    dropped += r"|      (BLOCKCHAIN_HUAWEI_ENDPOINT|BLOCKCHAIN_\w+_(USER|DATABASE)): "
    return [line for line in text.splitlines() if not re.match(dropped, line)]


@pytest.mark.parametrize("engine", ["standalone", "pulumi"])
def test_bare_to_converged_to_gone(both: list[Server], engine: str, record_property: pytest.RecordProperty) -> None:
    """P2, P3, P5, P7, P9-P11, D5, D16, D20."""
    if engine == "pulumi" and not has_cli():
        pytest.skip("no `pulumi` on PATH")
    for server in both:
        server.host.reset(images=True)  # so that `up` brings the stand-in's
        traces.put_rows(server.host)
    before = [server.foreign() for server in both]
    there = [traces.images(server.host) for server in both]
    listening = [server.host.run("ss -Hltn | awk '{print $4}' | sort") for server in both]
    cold = at_once(both, "up", engine)
    for server, (said, connections) in zip(both, cold, strict=True):
        record_property("printed", f"{server.stack}, {engine}: cold `up`, {connections} SSH connections")
        assert len(server.ours()) == COUNT[server.stack], said
        assert server.all_healthy(), server.health()
        started = {name: one.started_at for name, one in server.ours().items()}
        for first, then in NEEDS:  # P5
            assert started[first] < started[then]
        files = host_files(server.plan())
        golden = GOLDEN / server.stack
        for name, text in files.items():
            assert server.host.read(f"{ROOT}/{name}") == text, name
            assert without_the_labs_own(text) == without_the_labs_own((golden / name).read_text()), name
        assert (
            server.host.read(f"{ROOT}/blockchain-{server.stack}.env")
            == (golden / f"blockchain-{server.stack}.env").read_text()
        )  # P4
        assert_reach(server)
        assert_left_its_traces(server, there[both.index(server)])
        running = server.same()
        typed = server.type_it()
        assert server.same() == running  # P7
        assert "up-to-date" in typed
        assert "Recreating" not in typed
    for server, (said, connections) in zip(both, at_once(both, "up", engine), strict=True):
        record_property("printed", f"{server.stack}, {engine}: unchanged `up`, {connections} SSH connection")
        assert connections == 1, said  # observing
        assert server.foreign() == before[both.index(server)]
    running = [server.same() for server in both]
    outputs = both[0].program.outputs() if engine == "standalone" else {}
    if outputs:
        assert outputs["endpoints"]["blockchain-gateway"] == f"http://{both[0].host.address}:8411"
        assert outputs["monthly_cost_yuan"] == 50
    assert [server.same() for server in both] == running
    at_once(both, "destroy", engine)
    for index, server in enumerate(both):
        assert server.everything() == {}
        assert server.foreign() == before[index]  # D16, D20
        assert server.host.run("docker network ls -q --filter label=blockchain-dao.stack") == ""
        assert server.host.run("iptables-save | grep -c BLOCKCHAIN || :").strip() == "0"
        left = set(server.host.run(f"ls -A {ROOT}").split())
        assert left <= {"data", "logs", "state"}, left
        assert set(server.host.run(f"ls -A {ROOT}/state").split()) <= {"audit.log", "lock"}
        assert server.host.run("ss -Hltn | awk '{print $4}' | sort") == listening[index]
        assert traces.images(server.host) == there[index]
        assert traces.registrations(server.host) == set()
        assert traces.unit_files(server.host) == set()
        assert not traces.has_shim(server.host)
        assert traces.rows(server.host) == [traces.ROW] * 3
        assert set(traces.reached(server.host, traces.port_of(server.host, "mysql")).values()) == {True}  # as before


def assert_reach(server: Server) -> None:
    """D11: from outside only what is public answers; its neighbours on the host are asked by the health checks."""
    wanted = {service.port: service.public for service in server.plan().running}
    wanted |= {traces.port_of(server.host, name): False for name in ("mysql", "postgres", "redis")}
    assert traces.reached(server.host, *wanted) == wanted
    if server.stack == "tencent":
        assert wanted[8411]  # blockchain-gateway


def assert_left_its_traces(server: Server, there: set[str]) -> None:
    """What `destroy` must take away is there."""
    came = traces.images(server.host) - there
    assert came
    assert {image.split(" ")[1].split(":")[0] for image in came} == {"blockchain-dao/stand-in", "blockchain-dao/edge"}
    assert there <= traces.images(server.host)
    assert len(traces.unit_files(server.host)) == 2  # the unit, and what starts it at boot
    assert not traces.has_shim(server.host)  # this server has a docker-compose
    if server.stack == "alibaba":
        assert traces.registrations(server.host)
    assert traces.rows(server.host) == [traces.ROW] * 3


OWN_DATABASES = {
    "mysql": {"blockchain", "blockchain_users", "dao_users", "future_users"},  # the editions' are there, too
    "postgres": {"blockchain"},
}
OWN = {"mysql": "own-Sentinel-mysql $1%", "postgres": "own-Sentinel-postgres $2%"}


def test_an_admin_makes_what_the_services_need_and_it_stays(tmp_path: Path, tencent: LabHost) -> None:
    """D16, D24: a user with its own database only; after `destroy` the database is still there, rows and all."""
    server = Server(tmp_path, "tencent", tencent).shorten(edition=True)
    traces.put_rows(tencent)
    for name, password in OWN.items():
        user, admins_password = ADMINS[name]
        server.edit(lambda values, name=name, user=user: values["databases"][name].update(admin=user))
        server.program.set_secret(f"{name}-admin", admins_password)
        server.program.set_secret(name, password)
    said = server.up()
    wanted = {name: server.plan().database(name) for name in OWN}
    assert {(one.user, one.database) for one in wanted.values()} == {("blockchain", "blockchain")}
    assert server.all_healthy()
    assert set(server.health(path="ready").values()) == {200}
    assert "user blockchain" in said
    assert grants(tencent) == OWN_DATABASES
    for name in OWN:
        sql(tencent, name, "CREATE TABLE ours (a int); INSERT INTO ours VALUES (42);", "blockchain")
    assert server.unchanged()
    server.program.run("destroy")
    assert server.ours() == {}
    for name in OWN:
        assert sql(tencent, name, "SELECT a FROM ours;", "blockchain") == ["42"]
    assert grants(tencent) == OWN_DATABASES
    assert traces.rows(tencent) == [traces.ROW] * 3


def grants(host: LabHost) -> dict[str, set[str]]:
    """The databases in which the user may do something of its own; nothing is granted to it elsewhere."""
    whose = r"FROM information_schema.{} WHERE GRANTEE LIKE '\'blockchain\'@%'"
    assert sql(host, "mysql", f"SELECT DISTINCT PRIVILEGE_TYPE {whose.format('USER_PRIVILEGES')};") == ["USAGE"]
    rights = "rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls"
    assert sql(host, "postgres", f"SELECT {rights} FROM pg_roles WHERE rolname = 'blockchain';") == ["f"]
    create = "has_database_privilege('blockchain', datname, 'CREATE')"
    patterns = sql(host, "mysql", f"SELECT DISTINCT TABLE_SCHEMA {whose.format('SCHEMA_PRIVILEGES')};")
    return {
        "mysql": {re.sub(r"\\+_", "_", pattern) for pattern in patterns},
        "postgres": set(sql(host, "postgres", f"SELECT datname FROM pg_database WHERE {create};")),
    }


def test_one_broken_service_among_all_and_the_way_back(tmp_path: Path, tencent: LabHost) -> None:
    """Twelve at once with one broken; an unhealthy image later: the old version serves again; P11, D13."""
    server = Server(tmp_path, "tencent", tencent).hurry()
    server.edit(lambda values: values.pop("edition"))
    tencent.load_image(images.stand_in())
    crash = broken_image(tencent, "team/crash:1", "echo boom: no such table; exit 3")
    server.set("blockchain-service", image=crash)
    said = server.up(code=1)
    assert "blockchain-service did not come up" in said
    assert "boom: no such table" in said
    assert said.count("failed: blockchain-service-up") == 1  # one clear error
    assert said.count("failed: ") == 1
    healthy = server.health([name for name in server.ours() if name != "blockchain-service"])
    assert set(healthy.values()) == {200}
    assert set(server.ours()) == {s.name for s in server.plan().running} - {"blockchain-service", "crosschain-service"}
    server.edit(lambda values: values["services"]["blockchain-service"].pop("image"))
    server.up()
    assert server.all_healthy()
    assert server.unchanged()
    # A version that was good and isn't any more.
    before = server.same()
    sick = broken_image(tencent, "team/sick:1", "echo still starting; sleep 600")
    server.set("identity-service", image=sick, health_timeout=3)
    said = server.up(code=1)
    assert "Generation" in said
    assert "serves again" in said
    assert "still starting" in said
    after = server.same()
    assert {name for name in after if after[name] != before[name]} <= {"identity-service"}
    assert server.all_healthy()
    server.edit(lambda values: values["services"]["identity-service"].update(image=None, health_timeout=30))
    server.up()
    assert server.all_healthy()
    assert server.unchanged()


@pytest.mark.skipif(not os.environ.get("SOAK"), reason="takes a minute: `make soak`")
def test_eighty_milliseconds_away(tmp_path: Path, tencent: LabHost, record_property: pytest.RecordProperty) -> None:
    server = Server(tmp_path, "tencent", tencent)
    with tencent.delayed(80) as port:
        server.program.reach(tencent.gateway, port)
        counts: list[int] = []
        for change in (None, None, {"LOG_LEVEL": "debug"}):
            if change:
                server.set("blockchain-audit", env=change)
            done, connections = server.program.measured("up")
            assert done.returncode == 0
            counts.append(connections)
        record_property(
            "printed", "tencent at 80 ms: SSH connections cold {}, unchanged {}, one change {}".format(*counts)
        )
        assert server.all_healthy()
        assert counts[1] == 1
        assert counts[2] <= 3
        assert server.program.changes("preview") == {}


SENTINELS = {"mysql": "pw-Sentinel-mysql-1", "huawei": "cred-Sentinel-huawei-2"}


def test_no_secret_is_to_be_found_where_it_does_not_belong(tmp_path: Path, tencent: LabHost) -> None:  # D6
    server = Server(tmp_path, "tencent", tencent).shorten(edition=True)
    server.program.set_secret("huawei", SENTINELS["huawei"])
    secrets = {**{name: pair[1] for name, pair in ADMINS.items()}, "huawei": SENTINELS["huawei"]}
    texts: dict[str, str] = {}
    with tencent.sample_ps() as sample:
        texts["preview"] = server.program.run("preview").stdout
        texts["up"] = server.up()
        texts["json"] = server.program.run("preview", "--json").stdout
        server.program.set_secret("mysql", "wrong-Sentinel-3")
        running = server.same()
        texts["failed up"] = server.up(code=1)
        assert "mysql does not take this password" in texts["failed up"]
        assert server.same() == running
        server.program.set_secret("mysql", ADMINS["mysql"][1])
        texts["again"] = server.up()
    values = [*secrets.values(), "wrong-Sentinel-3"]
    texts["ps"] = "\n".join(sample.lines)
    assert "hostctl" in texts["ps"]
    assert "docker-compose" in texts["ps"]
    texts["state"] = server.program.state_text()
    texts["outputs"] = str(server.program.outputs())
    texts["audit"] = str(server.audit())
    texts["compose"] = tencent.read(f"{ROOT}/docker-compose-blockchain-tencent.yml")
    texts["env"] = tencent.read(f"{ROOT}/blockchain-tencent.env")
    texts["records"] = tencent.run(f"cat {ROOT}/state/*.json {ROOT}/state/*/*.json {ROOT}/state/*/*/*.json")
    texts["logs"] = "\n".join(tencent.run(f"docker logs {one.id} 2>&1") for one in server.everything().values())
    for name, one in server.ours().items():
        needed = server.plan().running[[s.name for s in server.plan().running].index(name)]
        allowed = {secrets[d] for d in needed.databases if d in secrets} | (
            {secrets["huawei"]} if needed.chains else set()
        )
        found = {value for value in values if value in str(one.raw)}
        assert found <= allowed, name
    for place, text in texts.items():
        assert [value for value in values if value in text] == [], place
    modes = {path: about.split()[1] for path, about in tencent.files(f"{ROOT}/secrets").items()}
    assert modes
    assert set(modes.values()) == {"600"}
    assert tencent.run(f"stat -c %a {ROOT}/secrets {ROOT}/state").split() == ["700", "700"]


def test_a_port_that_a_stranger_holds(tmp_path: Path, tencent: LabHost) -> None:  # P6
    server = Server(tmp_path, "tencent", tencent).shorten()
    tencent.take_port(8433)
    said = server.up(code=1)
    assert re.search(r"port 8433 is taken by pid \d+ \(.*taker\.py 8433\)", said), said
    rest = [name for name in server.health() if name != "blockchain-audit"]
    assert set(server.health(rest).values()) == {200}
    tencent.free_port(8433)
    server.up()
    assert set(server.health().values()) == {200}
    assert server.unchanged()


def test_a_wrong_key_touches_nothing(tmp_path: Path, tencent: LabHost, alibaba: LabHost) -> None:
    server = Server(tmp_path, "tencent", tencent)
    server.program.reach(tencent.address, host_key=alibaba.host_key)
    said = server.up(code=1)
    assert "it shows another host key than the pinned one" in said
    assert "nothing was touched" in said
    server.program.reach(tencent.address)
    server.program.environment |= tencent.agent_env(wrong=True)
    said = server.up(code=1)
    assert "it refuses the login" in said
    assert "nothing was touched" in said
    assert tencent.run(f"ls {ROOT} 2>/dev/null || :") == ""
    assert server.ours() == {}
