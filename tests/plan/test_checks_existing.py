"""What runs beside: elsewhere or here, insisted on or not, Consul's token (D20, P3)."""

from __future__ import annotations

from plan.semantic import SECRET
from tests.plan.stacks import drop, notices_of, plan_of, problems_of, put


def test_by_default_it_is_on_the_host_and_only_noticed() -> None:
    for existing in plan_of("tencent").existing:
        assert (existing.host, existing.local, existing.when_missing) == ("127.0.0.1", True, "notice")


def test_one_elsewhere_holds_no_port_and_no_memory_here() -> None:
    taken = put("existing.other", {"ports": [8501], "memory": "1GB"})
    assert any("8501 is taken" in problem for problem in problems_of("alibaba", taken))
    elsewhere = plan_of("alibaba", taken, put("existing.other.host", "10.0.0.9"))
    other = next(one for one in elsewhere.existing if one.name == "other")
    assert (other.host, other.local, other.resources.memory) == ("10.0.0.9", False, 0)
    assert elsewhere.beside("other") is None
    # However the host itself is written, it is here.
    here = plan_of("alibaba", put("existing.ai.host", "47.115.168.107")).existing[0]
    assert (here.host, here.local) == ("127.0.0.1", True)


def test_a_consul_elsewhere_takes_none_of_these_ports_and_is_told_nothing() -> None:
    text = "existing.consul.host: services are told to the consul of their own host only, so to none here"
    changes = [put("existing.consul.host", "10.0.0.9"), put("services.blockchain-service.port", 8505)]
    assert text in notices_of("alibaba", *changes)
    assert text not in notices_of("alibaba")


def test_consuls_token_is_a_secret_where_there_is_a_consul() -> None:
    token = put("secrets", {"consul": SECRET})
    assert plan_of("alibaba", token).secret_names == ("consul",)
    known = "known here: huawei, mysql, postgres, redis"
    opens = f"secrets.consul: opens nothing in this stack; {known}"
    assert problems_of("alibaba", token, drop("existing.consul")) == [opens]
    assert problems_of("alibaba", token, put("existing.consul.host", "10.0.0.9")) == [opens]
