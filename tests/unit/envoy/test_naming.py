"""Names: injective, stable, and read back to the object."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from dragoman import resource
from dragoman.envoy import naming
from dragoman.ir import model as ir
from dragoman.refs import Ref

TEXT = st.text(alphabet="ab./%:2F-é", max_size=6)
REFS = st.builds(
    Ref,
    st.sampled_from(["", "dragoman.dev", "gateway.networking.k8s.io", "a/b", "x%2F"]) | TEXT,
    st.sampled_from(["Service", "Backend", "Secret", "HTTPRoute", "A.b", "A%2Eb", "A/b"]),
    TEXT,
    TEXT,
)
KEYS: Any = (
    REFS,
    st.integers(0, 65535),
    st.sampled_from(["", "tcp"]),
    st.just(ir.NOBODY) | REFS,
    st.lists(REFS, max_size=2).map(tuple),
)
ALONE = st.builds(ir.ClusterKey, *KEYS, st.just(()))
CLUSTERS = ALONE | st.builds(ir.ClusterKey, *KEYS, st.tuples(ALONE))
SECRETS = st.builds(ir.SecretKey, REFS, st.sampled_from(["tls", "ca", "t/ls"]))


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (ir.ClusterKey(Ref("", "Service", "shop", "checkout"), 8080), "Service/shop/checkout/8080"),
        (ir.ClusterKey(Ref("dragoman.dev", "Backend", "shop", "ext")), "Backend/shop/ext"),
        (ir.ClusterKey(Ref("", "Backend", "shop", "ext")), "Backend./shop/ext"),
        (ir.ClusterKey(Ref("mc.x-k8s.io", "ServiceImport", "a", "b"), 1), "ServiceImport.mc.x-k8s.io/a/b/1"),
    ],
)
def test_cluster_names(key: ir.ClusterKey, name: str) -> None:
    assert naming.cluster(key) == name
    assert naming.refs_of(resource.CLUSTER, name)[0] == key.ref
    assert naming.refs_of(resource.ENDPOINT, name)[0] == key.ref


def test_names_of_listeners_and_tables() -> None:
    assert naming.listener(ir.Bind("127.0.0.1", 8080)) == "127.0.0.1:8080"
    assert naming.listener(ir.Bind("::1", 8080)) == "[::1]:8080"
    assert naming.route_config(ir.Scope(ir.Bind("127.0.0.1", 8080))) == "127.0.0.1:8080"
    assert naming.route_config(ir.Scope(ir.Bind("127.0.0.1", 8443), "*.a.b")) == "127.0.0.1:8443/*.a.b"


def test_the_object_behind_a_route() -> None:
    assert naming.route_ref("HTTPRoute/shop/cart/#0/1") == Ref(
        "gateway.networking.k8s.io", "HTTPRoute", "shop", "cart"
    )
    assert naming.route_ref("misdirected") is None


@pytest.mark.parametrize(
    ("type_url", "name"),
    [
        (resource.LISTENER, "127.0.0.1:8080"),
        (resource.ROUTE, "127.0.0.1:8443/*"),
        (resource.CLUSTER, naming.INVALID_CLUSTER),
        (resource.SECRET, "Secret/a/b"),
    ],
)
def test_names_without_one_object(type_url: str, name: str) -> None:
    assert naming.refs_of(type_url, name) == ()


@given(CLUSTERS, CLUSTERS)
def test_clusters_never_share_a_name(one: ir.ClusterKey, other: ir.ClusterKey) -> None:
    assert (naming.cluster(one) == naming.cluster(other)) == (one == other)


@given(SECRETS, SECRETS)
def test_secrets_never_share_a_name(one: ir.SecretKey, other: ir.SecretKey) -> None:
    assert (naming.secret(one) == naming.secret(other)) == (one == other)


@given(CLUSTERS)
def test_every_cluster_name_reads_back(key: ir.ClusterKey) -> None:
    of_reserve = [ref for one in key.reserve for ref in (one.ref, *one.policies)]
    assert naming.refs_of(resource.CLUSTER, naming.cluster(key)) == (key.ref, *key.policies, *of_reserve)
    assert naming.cluster(key) != naming.INVALID_CLUSTER


@given(SECRETS)
def test_every_secret_name_reads_back(key: ir.SecretKey) -> None:
    revoked = () if key.revoked == ir.NOBODY else (key.revoked,)
    assert naming.refs_of(resource.SECRET, naming.secret(key)) == (key.ref, *revoked)
