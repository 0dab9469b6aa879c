"""Filter chains of TLS hosts as resources of their own (FCDS), and the listener that looks for them by name.

Envoy looks at all chains of a listener whenever one comes or goes. Here the listener has a list of host names
and of the names of their chains, and each chain is fetched by its name: a host more costs a tenth, and a host
that changes nothing but its own chain. Called by the pipeline with `gateways.discovered_chains`; the listener
with everything in it (`listeners.py`) is made all the same, for who cannot fetch chains (`xds.whole`).

A chain has its connection manager in it: beside it, Envoy would build each twice when it changes. And it has
its certificates in it: Envoy 1.40 never asks for secrets that a chain names which comes after Envoy has
started. So these resources are sensitive, and a certificate that is renewed is another chain. The listener
keeps one chain of its own, which closes connections: without any, Envoy would not change it in place.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from dragoman import proto, resource
from dragoman.envoy import connection_manager, framing, listeners, naming, sources, streams
from dragoman.envoy.filters import chain as filter_chain
from dragoman.envoy.scoping import Cut
from dragoman.ir import client, model as ir
from dragoman.proto.envoy.config.listener import v3 as listener_proto
from dragoman.proto.envoy.extensions.matching.common_inputs.network import v3 as inputs
from dragoman.proto.google.protobuf import StringValue
from dragoman.proto.xds.core import v3 as xds_core
from dragoman.proto.xds.type.matcher import v3 as matcher

CLOSED: Final = "closed"
"""The listener's own chain."""

_MATCHER: Final = "xds.type.matcher.v3.Matcher"
_TREE: Final = f"{_MATCHER}.MatcherTree"
_ON_MATCH: Final = f"{_MATCHER}.OnMatch"


@dataclass(frozen=True, slots=True)
class Place:
    """One host name in the listener's list, and the name of its chain."""

    hostname: str
    name: str
    entry: bytes = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Chain:
    """One host name. `found` None: it lacks a certificate, and its connections are closed."""

    place: Place
    found: resource.Resource | None = field(repr=False)


def can_be(chain: ir.FilterChain) -> bool:
    """Whether it may be a resource of its own: Envoy wants to see those of HTTP/3."""
    return listeners.by_server_name(chain) and not chain.quic


def encode(
    bind: ir.Bind,
    chain: ir.FilterChain,
    made: listeners.ChainChunk,
    secrets: Mapping[ir.SecretKey, ir.Secret],
    *,
    cut: Cut,
    lazy: bool,
) -> Chain:
    """`made`: the same chain as part of its listener. `secrets`: what it uses, as far as it is there."""
    found = _resource(bind, chain, made, secrets, cut, lazy) if _whole(chain, secrets) else None
    name = found.name if found is not None else CLOSED
    return Chain(Place(chain.hostname, name, _entry(chain.hostname, name)), found)


def join(
    bind: ir.Bind, places: Iterable[Place], settings: client.PortSettings = ir.DEFAULT_CLIENTS.port
) -> resource.Resource:
    """The LDS resource of chains that are fetched. It changes when host names come and go, and with nothing
    that is in a chain."""
    ordered = sorted(places, key=lambda each: each.hostname)
    names = frozenset(each.name for each in ordered if each.name != CLOSED)
    head = listeners.encode_head(bind, True, settings)
    chunks = (head, _own(bind), framing.frame(_list_tag(), _list(ordered)))
    refs = {resource.CHAIN: resource.NameSet(names)}
    version = resource.digest(*chunks)
    if names:
        version += resource.FETCHING
    return resource.Resource(resource.LISTENER, naming.listener(bind), version, chunks, refs)


def _whole(chain: ir.FilterChain, secrets: Mapping[ir.SecretKey, ir.Secret]) -> bool:
    """Whether what it cannot be without is there: a certificate, and whom clients' are checked against."""
    if chain.tls is None:
        return True
    trusted = chain.tls.clients is None or chain.tls.clients.ca in secrets
    return trusted and any(key in secrets for key in chain.tls.certificates)


def _resource(
    bind: ir.Bind,
    chain: ir.FilterChain,
    made: listeners.ChainChunk,
    secrets: Mapping[ir.SecretKey, ir.Secret],
    cut: Cut,
    lazy: bool,
) -> resource.Resource:
    message = listeners.chain_message(bind, chain, made.manager, cut=cut, lazy=lazy, held=secrets)
    message.ClearField("filter_chain_match")
    message.ClearField("metadata")
    manager: tuple[bytes, ...] = ()
    refs: dict[str, resource.NameSet] = {}
    if made.manager is not None:  # here it stands in the chain
        del message.filters[-1]
        manager = connection_manager.in_chain(
            naming.listener(bind), message.name, chain.client.http, cut=cut, lazy=lazy
        )
        refs[resource.EXTENSION] = resource.NameSet(filter_chain.NAMES)
    for type_url, names in ((resource.ROUTE, made.tables), (resource.SCOPE, made.scopes)):
        if names:
            refs[type_url] = resource.NameSet(names)
    if made.clusters:
        refs[resource.CLUSTER] = resource.NameSet(made.clusters)
    chunks = (proto.serialize(message), *manager)
    return resource.Resource(
        resource.CHAIN, message.name, resource.digest(*chunks), chunks, refs, sensitive=chain.tls is not None
    )


# --- the list of host names ------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1024)
def _own(bind: ir.Bind) -> bytes:
    """What the listener has besides its list."""
    message = listener_proto.Listener()
    sources.write_ads(message.fcds_config.config_source)
    closed = message.filter_chains.add(name=CLOSED)
    streams.write(closed.filters.add(), naming.listener(bind), ir.Stream("", (), passthrough=True))
    return proto.serialize(message)


def _entry(hostname: str, name: str) -> bytes:
    """The host's entry of the map that it belongs to, as bytes that only need to be joined."""
    to = _to(name)
    if not hostname:
        return framing.frame(framing.tag(_MATCHER, "on_no_match"), proto.serialize(to))
    if _is_wild(hostname):
        wild = matcher.ServerNameMatcher.DomainMatcher(domains=[hostname], on_match=to)
        return proto.serialize(matcher.ServerNameMatcher(domain_matchers=[wild]))
    entries = matcher.Matcher.MatcherTree.MatchMap()
    entries.map[hostname].CopyFrom(to)
    return proto.serialize(entries)


def _is_wild(hostname: str) -> bool:
    return hostname.startswith("*.")


def _to(name: str) -> matcher.Matcher.OnMatch:
    made = matcher.Matcher.OnMatch()
    made.action.name = "chain"
    made.action.typed_config.CopyFrom(proto.pack_any(StringValue(value=name)))
    return made


def _list(ordered: list[Place]) -> bytes:
    """Connections that begin with TLS, by server name: the name itself, else the longest wildcard, else what
    is for any name or none."""
    rest = b"".join(each.entry for each in ordered if not each.hostname)  # one at most
    wild = b"".join(each.entry for each in ordered if _is_wild(each.hostname))
    exact = b"".join(each.entry for each in ordered if each.hostname and not _is_wild(each.hostname))
    if wild:
        names = xds_core.TypedExtensionConfig(name="wildcards")
        names.typed_config.type_url = proto.type_url(matcher.ServerNameMatcher)
        names.typed_config.value = wild
        rest = _tree("custom_match", proto.serialize(names)) + rest
        if exact:
            rest = framing.frame(framing.tag(_MATCHER, "on_no_match"), _nested(rest))
    if exact:
        rest = _tree("exact_match_map", exact) + rest
    return _over_tls(rest or _otherwise_closed())


def _tree(kind: str, content: bytes) -> bytes:
    """A matcher's tree over the server name."""
    tree = _server_name() + framing.frame(framing.tag(_TREE, kind), content)
    return framing.frame(framing.tag(_MATCHER, "matcher_tree"), tree)


def _nested(content: bytes) -> bytes:
    return framing.frame(framing.tag(_ON_MATCH, "matcher"), content)


def _over_tls(content: bytes) -> bytes:
    """What speaks no TLS matches nothing."""
    made = matcher.Matcher.MatcherTree()
    made.input.name = "transport"
    made.input.typed_config.CopyFrom(proto.pack_any(inputs.TransportProtocolInput()))
    entry = framing.frame(framing.tag(f"{_TREE}.MatchMap.MapEntry", "key"), b"tls")
    entry += framing.frame(framing.tag(f"{_TREE}.MatchMap.MapEntry", "value"), _nested(content))
    found = framing.frame(framing.tag(f"{_TREE}.MatchMap", "map"), entry)
    tree = proto.serialize(made) + framing.frame(framing.tag(_TREE, "exact_match_map"), found)
    return framing.frame(framing.tag(_MATCHER, "matcher_tree"), tree)


@functools.cache
def _otherwise_closed() -> bytes:
    return framing.frame(framing.tag(_MATCHER, "on_no_match"), proto.serialize(_to(CLOSED)))


@functools.cache
def _server_name() -> bytes:
    made = matcher.Matcher.MatcherTree()
    made.input.name = "name"
    made.input.typed_config.CopyFrom(proto.pack_any(inputs.ServerNameInput()))
    return proto.serialize(made)


@functools.cache
def _list_tag() -> bytes:
    return framing.tag("envoy.config.listener.v3.Listener", "filter_chain_matcher")
