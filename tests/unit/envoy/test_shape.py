"""Route tables as ropes: joined from pieces, equal to the whole, changed piece by piece."""

from __future__ import annotations

import random
from collections.abc import Iterable

from hypothesis import given, strategies as st

from dragoman import resource
from dragoman.envoy import routes, scoping, shape
from dragoman.proto.envoy.config.route import v3 as route_proto
from tests.unit.envoy.build import PLAIN, forward, route

HOSTS = st.dictionaries(
    st.sampled_from([f"h{n}.example" for n in range(300)]), st.sampled_from("ab"), max_size=20
)


def host(domain: str, backend: str) -> routes.HostChunk:
    encoded = routes.encode_route(route(forward(backend)))
    return routes.encode_virtual_host(PLAIN, domain, [encoded], False)


def table(hosts: Iterable[routes.HostChunk]) -> resource.Resource:
    buckets: dict[int, list[routes.HostChunk]] = {}
    for each in hosts:
        buckets.setdefault(shape.bucket(each.domain), []).append(each)
    return shape.route_configuration(PLAIN, {n: shape.encode_bucket(found) for n, found in buckets.items()})


@given(HOSTS)
def test_the_rope_is_the_whole_table(hosts: dict[str, str]) -> None:
    made = table(host(domain, backend) for domain, backend in hosts.items())
    message = route_proto.RouteConfiguration.FromString(made.payload)
    assert message.name == made.name == "127.0.0.1:8080"
    assert message.ignore_port_in_host_matching
    assert sorted(each.name for each in message.virtual_hosts) == sorted(hosts)
    assert set(made.refers(resource.CLUSTER)) == {f"Service/shop/{b}/8080" for b in hosts.values()}


@given(HOSTS, st.randoms(use_true_random=False))
def test_order_of_arrival_plays_no_part(hosts: dict[str, str], chance: random.Random) -> None:
    items = [host(domain, backend) for domain, backend in hosts.items()]
    shuffled = items[:]
    chance.shuffle(shuffled)
    assert table(items).payload == table(shuffled).payload
    assert table(items).version == table(shuffled).version


@given(HOSTS, HOSTS)
def test_versions_differ_when_bytes_do(one: dict[str, str], other: dict[str, str]) -> None:
    left = table(host(*each) for each in one.items())
    right = table(host(*each) for each in other.items())
    assert (left.version == right.version) == (left.payload == right.payload)


def test_a_changed_host_changes_one_piece() -> None:
    hosts = {f"h{n}.example": host(f"h{n}.example", "a") for n in range(1000)}
    before = table(hosts.values())
    hosts["h7.example"] = host("h7.example", "b")
    after = table(hosts.values())
    assert sum(a != b for a, b in zip(before.chunks, after.chunks, strict=True)) == 1
    assert 256 < len(before.chunks) <= scoping.FOLDS + 1


def test_buckets_are_stable() -> None:
    assert [shape.bucket(name) for name in ("*", "shop.example", "*.shop.example")] == [-1, 164, -1]
