"""The connection manager: what becomes of connections as requests. Called by `listeners.py`, which has it in
the filter chain (`encode`) or beside it, as a resource of its own (`discovered`).

It follows Envoy's advice for edge proxies; where it goes another way, the line says why. Most policies go
into routes, since a changed connection manager drains its connections; what only it can do comes from a
ClientPolicy (`ir.client.Http`). All that have the same settings share the same bytes, but for the name of
their route table.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final, assert_never

from dragoman import proto, resource
from dragoman.envoy import (
    addresses,
    durations,
    framing,
    headers,
    limit_replies,
    replies,
    reports,
    scoping,
    sources,
)
from dragoman.envoy.filters import chain as filter_chain
from dragoman.envoy.scoping import Cut
from dragoman.ir import client
from dragoman.proto.envoy.config.common.mutation_rules import v3 as mutation_rules
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from dragoman.proto.envoy.extensions.http.early_header_mutation.header_mutation import v3 as early
from dragoman.proto.envoy.extensions.http.header_formatters.preserve_case import v3 as preserve_case
from dragoman.proto.envoy.extensions.http.original_ip_detection.custom_header import v3 as custom_header
from dragoman.proto.envoy.extensions.http.original_ip_detection.xff import v3 as xff
from dragoman.proto.envoy.type import v3 as type_proto

NAME: Final = "envoy.filters.network.http_connection_manager"

_Manager = hcm.HttpConnectionManager
_FORWARDING: Final = {
    client.Forwarding.REMOVE: _Manager.SANITIZE,
    client.Forwarding.FORWARD: _Manager.FORWARD_ONLY,
    client.Forwarding.APPEND: _Manager.APPEND_FORWARD,
    client.Forwarding.REPLACE: _Manager.SANITIZE_SET,
    client.Forwarding.ALWAYS_FORWARD: _Manager.ALWAYS_FORWARD_ONLY,
}
_SLASHES: Final = {
    client.EscapedSlashes.KEEP: _Manager.KEEP_UNCHANGED,
    client.EscapedSlashes.REJECT: _Manager.REJECT_REQUEST,
    client.EscapedSlashes.REDIRECT: _Manager.UNESCAPE_AND_REDIRECT,
    client.EscapedSlashes.UNESCAPE: _Manager.UNESCAPE_AND_FORWARD,
}
_UNDERSCORES: Final = {
    client.Underscores.DROP: core.HttpProtocolOptions.DROP_HEADER,
    client.Underscores.REJECT: core.HttpProtocolOptions.REJECT_REQUEST,
    client.Underscores.ALLOW: core.HttpProtocolOptions.ALLOW,
}
_SAID_BY_CLIENTS: Final = (
    "x-envoy-external-address",
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
)
"""Headers that `use_remote_address` drops or sets. Where the address is found in another way, Envoy leaves
them; the route table sets the first (`shape.py`)."""


def encode(
    stat_prefix: str,
    table: str,
    settings: client.Http,
    *,
    quic: bool = False,
    cut: Cut = Cut.WHOLE,
    lazy: bool = False,
) -> bytes:
    """The connection manager of one chain. `cut`: how its table is. `lazy`: clusters are
    fetched at the first request for them."""
    # Repeated fields go in this order: what clients and policies change early comes before the scope's key.
    return _shared(settings, quic, lazy) + _own(stat_prefix, table, cut)


def discovered(
    named: Callable[[str], str],
    stat_prefix: str,
    table: str,
    settings: client.Http,
    cut: Cut,
    scopes: frozenset[str],
    *,
    lazy: bool = False,
) -> resource.Resource:
    """The same as an ECDS resource, `named` by a hash of its content. What all have in common is held once.
    `scopes`: those that its table is cut into, by `cut`."""
    shared, own = _shared(settings, quic=False, lazy=lazy), _own(stat_prefix, table, cut)
    name = named(resource.digest(shared, own))
    head = _head(name, len(shared) + len(own))
    version = resource.digest(head, shared, own)
    refs = {resource.SCOPE: resource.NameSet(scopes)} if scopes else {}
    return resource.Resource(resource.EXTENSION, name, version, (head, shared, own), refs)


def in_chain(
    stat_prefix: str, table: str, settings: client.Http, *, cut: Cut = Cut.WHOLE, lazy: bool = False
) -> tuple[bytes, ...]:
    """The same as the last filter of a filter chain, to be put behind the rest of it."""
    shared, own = _shared(settings, quic=False, lazy=lazy), _own(stat_prefix, table, cut)
    head = _head(NAME, len(shared) + len(own), "envoy.config.listener.v3.Filter")
    before = framing.tag("envoy.config.listener.v3.FilterChain", "filters")
    return framing.head(before, len(head) + len(shared) + len(own)) + head, shared, own


def _own(stat_prefix: str, table: str, cut: Cut) -> bytes:
    """What no two have in common."""
    own = hcm.HttpConnectionManager(stat_prefix=stat_prefix)
    if cut:
        scoping.write(own, table, cut)
    else:
        own.rds.route_config_name = table
        sources.write_ads(own.rds.config_source)
    return proto.serialize(own)


def _head(name: str, size: int, extension: str = "envoy.config.core.v3.TypedExtensionConfig") -> bytes:
    """What stands before `size` bytes of a connection manager in a TypedExtensionConfig or its like."""
    packed = "google.protobuf.Any"
    url = framing.frame(framing.tag(packed, "type_url"), proto.type_url(hcm.HttpConnectionManager).encode())
    inner = url + framing.head(framing.tag(packed, "value"), size)
    outer = framing.head(framing.tag(extension, "typed_config"), len(inner) + size)
    return framing.frame(framing.tag(extension, "name"), name.encode()) + outer + inner


@functools.lru_cache(maxsize=1024)
def _shared(settings: client.Http, quic: bool, lazy: bool) -> bytes:
    """All but the names."""
    manager = hcm.HttpConnectionManager(
        codec_type=_Manager.HTTP3 if quic else _Manager.AUTO,
        merge_slashes=settings.merge_slashes,
        path_with_escaped_slashes_action=_SLASHES[settings.escaped_slashes],
        strip_trailing_host_dot=True,
        # The backend's own Server header, and none where it sends none.
        server_header_transformation=_Manager.PASS_THROUGH,
        # An id that the client brought lets requests be followed through several proxies.
        preserve_external_request_id=True,
        forward_client_cert_details=_FORWARDING[settings.forwarding],
    )
    manager.use_remote_address.value = not settings.detects
    _address(manager, settings.address)
    _certificate(manager, settings)
    manager.normalize_path.value = settings.normalize
    _limits(manager, settings)
    _early(manager, settings)
    _http1(manager, settings.http1)
    _http2(manager.http2_protocol_options, settings.http2)
    durations.assign(manager.stream_idle_timeout, settings.stream_idle)
    durations.assign(manager.request_headers_timeout, settings.request_headers)
    if settings.request:
        durations.assign(manager.request_timeout, settings.request)
    manager.upgrade_configs.add().upgrade_type = "websocket"
    replies.write_others(manager.local_reply_config)
    limit_replies.write(manager.local_reply_config)
    filter_chain.write_filters(manager, lazy=lazy)
    replies.write(manager)
    reports.write(manager)
    return proto.serialize(manager)


def _limits(manager: hcm.HttpConnectionManager, settings: client.Http) -> None:
    common = manager.common_http_protocol_options
    durations.assign(common.idle_timeout, settings.idle)
    common.headers_with_underscores_action = _UNDERSCORES[settings.underscores]
    if settings.header_count is not None:
        common.max_headers_count.value = settings.header_count
    if settings.header_bytes is not None:
        manager.max_request_headers_kb.value = -(-settings.header_bytes // 1024)
    if settings.max_requests is not None:
        common.max_requests_per_connection.value = settings.max_requests
    if settings.max_duration:
        durations.assign(common.max_connection_duration, settings.max_duration)
        # HTTP/1.1 clients are told with the last answer, instead of losing a request that crosses the end.
        manager.http1_safe_max_connection_duration = True


def _address(manager: hcm.HttpConnectionManager, address: client.ClientAddress | None) -> None:
    """Whose address a request comes from. Clients on trusted networks get no say in x-envoy-* headers either:
    `use_remote_address` sees to it, or `_early`, where Envoy wants to hear nothing of that."""
    match address:
        case None:
            return
        case client.TrustedHops(number):
            manager.xff_num_trusted_hops = number
        case client.TrustedNetworks(networks):
            config = xff.XffConfig()
            config.skip_xff_append.value = False
            for network in networks:
                addresses.write_network(config.xff_trusted_cidrs.cidrs.add(), network)
            entry = manager.original_ip_detection_extensions.add()
            entry.name = "envoy.http.original_ip_detection.xff"
            entry.typed_config.CopyFrom(proto.pack_any(config))
        case client.AddressHeader(name, required):
            by_header = custom_header.CustomHeaderConfig(header_name=name)
            if required:
                by_header.reject_with_status.code = type_proto.Forbidden
            entry = manager.original_ip_detection_extensions.add()
            entry.name = "envoy.http.original_ip_detection.custom_header"
            entry.typed_config.CopyFrom(proto.pack_any(by_header))
        case _:
            assert_never(address)


def _certificate(manager: hcm.HttpConnectionManager, settings: client.Http) -> None:
    if settings.forwarding not in (client.Forwarding.APPEND, client.Forwarding.REPLACE):
        return
    told = manager.set_current_client_cert_details
    detail = client.CertificateDetail
    told.SetInParent()
    if detail.SUBJECT in settings.details:
        told.subject.value = True
    told.uri = detail.URI in settings.details
    told.dns = detail.DNS in settings.details
    told.issuer = detail.ISSUER in settings.details
    told.cert = detail.CERTIFICATE in settings.details
    told.chain = detail.CHAIN in settings.details


def _early(manager: hcm.HttpConnectionManager, settings: client.Http) -> None:
    """Envoy makes these changes before it knows the client's address, and before it looks for a route."""
    config = early.HeaderMutation()
    changes = settings.early
    overwrite = core.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    if settings.detects:
        for name in _SAID_BY_CLIENTS:
            config.mutations.add().remove = name
    for name in changes.remove:
        config.mutations.add().remove = name
    for name, value in changes.set:
        _append(config.mutations.add(), name, headers.literal(value), overwrite)
    for name, value in changes.add:
        _append(
            config.mutations.add(),
            name,
            headers.literal(value),
            core.HeaderValueOption.APPEND_IF_EXISTS_OR_ADD,
        )
    if not config.mutations:
        return
    entry = manager.early_header_mutation_extensions.add()
    entry.name = "envoy.http.early_header_mutation.header_mutation"
    entry.typed_config.CopyFrom(proto.pack_any(config))


def _append(
    target: mutation_rules.HeaderMutation,
    name: str,
    value: str,
    action: core.HeaderValueOption.HeaderAppendAction,
) -> None:
    option = target.append
    option.header.key, option.header.value = name, value
    option.append_action = action
    option.keep_empty_value = not value


def _http1(manager: hcm.HttpConnectionManager, settings: client.Http1) -> None:
    if settings == client.Http1():
        return
    options = manager.http_protocol_options
    options.accept_http_10 = settings.http10
    options.default_host_for_http_10 = settings.default_host
    options.enable_trailers = settings.trailers
    if settings.preserve_case:
        formatter = options.header_key_format.stateful_formatter
        formatter.name = "preserve_case"
        formatter.typed_config.CopyFrom(proto.pack_any(preserve_case.PreserveCaseFormatterConfig()))


def _http2(target: core.Http2ProtocolOptions, settings: client.Http2) -> None:
    target.max_concurrent_streams.value = settings.streams
    target.initial_stream_window_size.value = settings.stream_window
    target.initial_connection_window_size.value = settings.connection_window
    if settings.resets is not None:
        target.stream_reset_burst.value, target.stream_reset_rate.value = settings.resets
    if settings.control_frames is not None:
        target.max_outbound_control_frames.value = settings.control_frames
    if settings.empty_frames is not None:
        target.max_consecutive_inbound_frames_with_empty_payload.value = settings.empty_frames
