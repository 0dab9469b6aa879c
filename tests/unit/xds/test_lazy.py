"""Streams that are shown a lazy cluster when they name it."""

from __future__ import annotations

from dataclasses import replace

from dragoman import resource
from dragoman.resource import CLUSTER, Resource
from dragoman.xds.lazy import Lazy
from dragoman.xds.snapshot import View
from dragoman.xds.wire import Encoder, Form, Request
from tests.unit.xds.client import Client, Message, changes, cluster, route


def lazy(name: str, body: str = "1") -> Resource:
    made = cluster(name, body)
    return replace(made, lazy=True, version=resource.digest(made.version.encode(), b"lazy"))


class Proxy:
    """One delta stream over `view`, and its clusters."""

    def __init__(self, view: View, encoder: Encoder | None = None) -> None:
        self._view = view
        self._lazy = Lazy(view)
        self._client = Client(self._lazy, Form.DELTA, encoder=encoder)  # type: ignore[arg-type]

    def ask(self, *names: str, has: dict[str, str] | None = None) -> list[Message]:
        self._lazy.note(Request(CLUSTER, names=names, versions=has or {}))
        found = self._client.ask(CLUSTER, *names, has=has)
        return found + (self._client.ack(CLUSTER) if found else [])

    def put(self, *items: Resource, gone: tuple[str, ...] = ()) -> list[Message]:
        self._view.apply(changes(*items, gone=[(CLUSTER, name) for name in gone]))
        found = self._client.take()
        return found + (self._client.ack(CLUSTER) if found else [])

    @property
    def names(self) -> set[str]:
        return set(self._client.has.get(CLUSTER, {}))


def test_rule_57_the_wildcard_leaves_lazy_ones_out() -> None:
    proxy = Proxy(View([cluster("a"), lazy("b"), lazy("c")]))
    proxy.ask()
    assert proxy.names == {"a"}
    assert proxy.put(lazy("d"), lazy("b", "2")) == []
    proxy.ask("b")
    assert proxy.names == {"a", "b"}


def test_rule_57_what_was_named_is_a_cluster_like_all_others() -> None:
    proxy = Proxy(View([lazy("b")]))
    proxy.ask()
    proxy.ask("b")
    (changed,) = proxy.put(lazy("b", "2"))
    assert changed.bodies == {"b": "b:2"}
    (gone,) = proxy.put(gone=("b",))
    assert gone.removed == ["b"]
    (back,) = proxy.put(lazy("b", "3"))
    assert back.names == {"b"}


def test_rule_57_who_names_one_that_is_not_there_is_told_and_gets_it_later() -> None:
    proxy = Proxy(View([cluster("a")]))
    proxy.ask()
    (missing,) = proxy.ask("b")
    assert missing.removed == ["b"]
    (there,) = proxy.put(lazy("b"))
    assert there.names == {"b"}


def test_one_that_becomes_lazy_stays_where_it_is() -> None:
    view = View([cluster("a"), cluster("b")])
    proxy = Proxy(view)
    proxy.ask()
    proxy.put(lazy("b"))
    assert proxy.names == {"a", "b"}
    late = Proxy(view)
    late.ask()
    assert late.names == {"a"}


def test_one_that_is_lazy_no_more_goes_to_all() -> None:
    proxy = Proxy(View([cluster("a"), lazy("b")]))
    proxy.ask()
    (message,) = proxy.put(cluster("b"))
    assert message.names == {"b"}


def test_what_a_proxy_brings_along_is_kept() -> None:
    """Without being told anew, whether it names them again or not."""
    items = [cluster("a"), lazy("b"), lazy("c"), lazy("d")]
    proxy = Proxy(View(items))
    has = {item.name: item.version for item in items[:2]}
    (message,) = proxy.ask(has={**has, "d": "old"})
    assert (message.names, message.removed) == ({"d"}, [])
    (changed,) = proxy.put(lazy("b", "2"))
    assert changed.names == {"b"}


def test_streams_that_see_different_clusters_share_no_response() -> None:
    """Responses are kept by version."""
    view, encoder = View([cluster("a"), lazy("b"), lazy("c")]), Encoder()
    plain = Client(view, Form.DELTA, encoder=encoder)
    plain.ask(CLUSTER)
    assert set(plain.has[CLUSTER]) == {"a", "b", "c"}
    for names, seen in (((), {"a"}), (("*", "b"), {"a", "b"}), (("*", "c"), {"a", "c"})):
        proxy = Proxy(view, encoder)
        proxy.ask(*names)
        assert proxy.names == seen


def test_routes_do_not_wait_for_lazy_ones() -> None:
    view = View([lazy("b"), route("r", "b")])
    client = Client(Lazy(view), Form.DELTA)  # type: ignore[arg-type]
    client.ask(CLUSTER)
    assert client.ask(resource.ROUTE, "r")[0].names == {"r"}


def test_rule_40_what_is_brought_along_later_is_not_shown() -> None:
    """Or the stream would count as having it, and never be sent it."""
    proxy = Proxy(View([cluster("a"), lazy("b")]))
    proxy.ask()
    assert proxy.ask(has={"b": "x"}) == []
    proxy.ask("b")
    assert proxy.names == {"a", "b"}
    (changed,) = proxy.put(lazy("b", "2"))
    assert changed.names == {"b"}
    other = Proxy(View([cluster("a"), lazy("b")]))
    other.ask()
    other.ask(has={"b": "x"})
    assert other.put(lazy("b", "2")) == []
