"""The chart's network policies: the same addresses as the service's own egress guard."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.egress import AddressVerdict, EgressPolicy, classify
from app.runtime.roles import EVERYWHERE
from tests.helm.chart import render

Wall = dict[int, tuple[IPv4Network | IPv6Network, list[IPv4Network | IPv6Network]]]
GUARD = EgressPolicy()


def policies(*values: str) -> dict[str, Any]:
    """Component → policy, in the locked-down example."""
    rendered = render("locked-down", *values).of_kind("NetworkPolicy")
    return {name.removeprefix("hooks-hookstream-"): each["spec"] for name, each in rendered.items()}


@pytest.fixture(scope="module")
def wall() -> Wall:
    """IP version → the network that dispatch may reach, and what is excepted."""
    blocks = [peer["ipBlock"] for peer in policies()["dispatch"]["egress"][-1]["to"]]
    networks = [(ip_network(each["cidr"]), [ip_network(part) for part in each["except"]]) for each in blocks]
    return {network.version: (network, excepted) for network, excepted in networks}


def passes(wall: Wall, address: IPv4Address | IPv6Address) -> bool:
    """Whether the policy lets a packet to the address through."""
    network, excepted = wall[address.version]
    return address in network and not any(address in each for each in excepted)


def edges(wall: Wall, version: int) -> list[int]:
    """The addresses on both sides of each border."""
    network, excepted = wall[version]
    numbers = {
        int(edge) + step
        for each in (network, *excepted)
        for edge in (each.network_address, each.broadcast_address)
        for step in (-1, 0, 1)
    }
    return sorted(number for number in numbers if 0 <= number < 2 ** (32 if version == 4 else 128))


@given(st.integers(0, 2**32 - 1))
def test_the_wall_lets_public_ipv4_addresses_through_and_no_other(wall: Wall, number: int) -> None:
    address = IPv4Address(number)
    assert passes(wall, address) is (classify(address, GUARD) is AddressVerdict.PUBLIC)


def test_the_borders_of_the_wall_are_those_of_the_guard(wall: Wall) -> None:
    for address in map(IPv4Address, edges(wall, 4)):
        assert passes(wall, address) is (classify(address, GUARD) is AddressVerdict.PUBLIC), address
    for other in map(IPv6Address, edges(wall, 6)):
        # the guard also looks into addresses that carry an IPv4 address, which a policy cannot
        assert passes(wall, other) or classify(other, GUARD) is not AddressVerdict.PUBLIC, other


def test_only_roles_that_send_reach_the_internet() -> None:
    reaching = {name for name, spec in policies().items() if "0.0.0.0/0" in str(spec["egress"])}
    assert reaching == {"dispatch", "api"}


def test_every_pod_has_a_policy_for_both_directions() -> None:
    one_user = ("strimzi.users=false", "kafka.sasl.username=hookstream")
    found = policies("topics.mode=job", *one_user, "migration.enabled=true")
    assert set(found) == {*EVERYWHERE, "topics", "migration", "test"}
    assert all(set(spec["policyTypes"]) == {"Ingress", "Egress"} for spec in found.values())


def test_only_roles_with_the_read_model_reach_the_database() -> None:
    found = policies("migration.enabled=true")
    assert {name for name, spec in found.items() if "10.20.30.40/32" in str(spec)} == {"api", "projection", "migration"}


def test_an_allowed_private_network_is_open_in_the_policy_and_in_the_service() -> None:
    rendered = render("locked-down", "networkPolicy.privateEndpoints={10.9.0.0/16}")
    assert "10.9.0.0/16" in str(rendered.of_kind("NetworkPolicy")["hooks-hookstream-dispatch"]["spec"]["egress"])
    assert {"name": "HOOKSTREAM_EGRESS_ALLOW", "value": "10.9.0.0/16"} in rendered.pods()["dispatch"]["spec"][
        "containers"
    ][0]["env"]


def test_every_pod_reaches_what_an_extra_rule_allows() -> None:
    rule = "networkPolicy.extraEgress[0]"
    found = policies("migration.enabled=true", f"{rule}.to[0].ipBlock.cidr=10.1.2.3/32", f"{rule}.ports[0].port=4318")
    assert {name for name, spec in found.items() if "10.1.2.3/32" in str(spec["egress"])} == {*EVERYWHERE, "migration"}


def test_the_pod_of_helm_test_reaches_the_api_and_nothing_else() -> None:
    rendered = render("locked-down")
    (pod,) = rendered.of_kind("Pod").values()
    selector = {name: pod["metadata"]["labels"][f"app.kubernetes.io/{name}"] for name in ("name", "instance")}
    labels = {f"app.kubernetes.io/{name}": value for name, value in selector.items()}
    found = policies()
    tester, api = ({**labels, "app.kubernetes.io/component": name} for name in ("test", "api"))
    assert tester.items() <= pod["metadata"]["labels"].items()
    assert found["test"]["podSelector"] == {"matchLabels": tester}
    _, call = found["test"]["egress"]
    assert call == {"ports": [{"port": 8080}], "to": [{"podSelector": {"matchLabels": api}}]}
    (answered,) = [rule["from"] for rule in found["api"]["ingress"] if rule["ports"] == [{"port": 8080}]]
    assert answered[-1] == {"podSelector": {"matchLabels": tester}}
