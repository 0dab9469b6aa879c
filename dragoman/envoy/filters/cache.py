"""The cache of a route: five filters in a chain of the route's own, and two before its inner copy.

Envoy's cache asks the backend itself, past everything that stands after it: rewrites, retries, timeouts,
weights, header changes (envoyproxy/envoy #39135). So it asks an internal listener instead
(`envoy.inner`), whose connection manager has the same route table and the filters that stand after the
cache. A route carries

- `dragoman.cache`, for the outer one: what is not in a filter chain of Envoy's own making cannot differ
  between routes, and a route table that nobody caches in costs nothing (no store, no threads, no Lua);
- `dragoman.cache.answer`, for the inner one: how long the answer lives.

The key. Envoy's is cluster, host and path with query, and nothing else, whatever else the route was
chosen by. So the path as it came is put aside (`aside.lua`), and what the cache sees has another query: that
path, a digest of the whole Envoy route, and what the policy wants. The inner side puts the path back, byte by
byte, before routes are matched. Clients can forge none of it: what they send under these names is
overwritten or put back as it was.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from importlib import resources
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from dragoman import proto
from dragoman.envoy.filters import base
from dragoman.ir import cache as kept, model as ir
from dragoman.proto.envoy.config.common.mutation_rules import v3 as mutation_rules
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.extensions.filters.http.cache_v2 import v3 as cache_v2
from dragoman.proto.envoy.extensions.filters.http.filter_chain import v3 as filter_chain
from dragoman.proto.envoy.extensions.filters.http.header_mutation import v3 as header_mutation
from dragoman.proto.envoy.extensions.filters.http.lua import v3 as lua
from dragoman.proto.envoy.extensions.http.cache_v2.file_system_http_cache import v3 as file_system

if TYPE_CHECKING:
    from google.protobuf.internal import containers

    Changes = containers.RepeatedCompositeFieldContainer[mutation_rules.HeaderMutation]

NAME: Final = "dragoman.cache"
ANSWER: Final = "dragoman.cache.answer"
RESTORE: Final = "dragoman.cache.restore"
CLIENT: Final = "x-dragoman-client"
"""The client's address, for the inner connection manager."""

_PATH: Final = "x-envoy-original-path"  # where access logs look for it first
_FORWARDED: Final = "x-dragoman-forwarded"
_AUTHORIZATION: Final = "x-dragoman-authorization"
_CACHE_CONTROL: Final = "x-dragoman-cache-control"
_VARY: Final = "x-dragoman-vary"
_IGNORED: Final = "x-dragoman-ignored"
_NOTHING: Final = "-"
_HIT: Final = "cache.response_from_cache_filter"
_USUAL: Final = ir.Storage()
_LASTING: Final = (200, 203, 204, 300, 301, 308)

_Action = core.HeaderValueOption

_SCRIPT: Final = f"""
function envoy_on_request(handle)
  local headers = handle:headers()
  local path = headers:get("{_PATH}")
  if path == nil then
    return
  end
  headers:replace(":path", path)
  headers:remove("{_PATH}")
  local forwarded = headers:get("{_FORWARDED}")
  if forwarded == nil then
    headers:remove("x-forwarded-for")
  else
    headers:replace("x-forwarded-for", forwarded)
    headers:remove("{_FORWARDED}")
  end
  local authorization = headers:get("{_AUTHORIZATION}")
  if authorization ~= nil then
    headers:replace("authorization", authorization)
    headers:remove("{_AUTHORIZATION}")
  end
  headers:remove("{CLIENT}")
  handle:clearRouteCache()
end
"""


class Cache:
    """`dragoman.cache`: an empty chain, until a route brings its own."""

    name = NAME
    disabled = True

    def config(self) -> base.Config:
        return base.config(filter_chain.FilterChainConfig())

    def per_route(self, route: ir.Route) -> None:
        del route  # `envoy.caching` knows the table, which the inner listener depends on


FILTER = Cache()


@functools.lru_cache(maxsize=1024)
def outer(spec: ir.Cache, inner: str, identity: str) -> base.Config:
    """The cache for one route. `inner`: the cluster that it asks; `identity`: what the key says of the
    route."""
    config = filter_chain.FilterChainConfigPerRoute()
    filters = config.filter_chain.filters
    _add(filters.add(), "dragoman.cache.ignored", _names(spec.ignored))
    _add(filters.add(), "dragoman.cache.aside", _aside())
    _add(filters.add(), "dragoman.cache.key", _key(spec, identity))
    _add(filters.add(), "envoy.filters.http.cache_v2", _store(spec, inner))
    # For requests that the cache lets pass after all: a GET with a body, for one.
    _add(filters.add(), RESTORE, _restore())
    return base.config(config)


@functools.lru_cache(maxsize=1024)
def answer(spec: ir.Cache) -> base.Config:
    """What the inner side does to the route's answers before the cache sees them."""
    config = header_mutation.HeaderMutationPerRoute()
    changes = config.mutations.response_mutations
    _set(changes.add(), _CACHE_CONTROL, "%RESP(cache-control)%")
    _set(changes.add(), _CACHE_CONTROL, _NOTHING, _Action.ADD_IF_ABSENT)
    _set(changes.add(), "cache-control", f"%CEL({lifetime(spec)})%")
    if spec.headers or spec.identity:
        _hide_vary(changes, (*spec.headers, *spec.identity))
    return base.config(config)


def inner_filters() -> Iterator[tuple[str, bool, base.Config]]:
    """What the inner connection manager has before the filters that stand after the cache: name, disabled,
    configuration."""
    yield RESTORE, False, base.config(_restore())
    yield ANSWER, True, base.config(header_mutation.HeaderMutation())


def lifetime(spec: ir.Cache) -> str:
    """The Cache-Control that the cache sees, as a CEL expression over the backend's answer.

    Envoy takes directives for what they are in lower case only, and keeps answers that set cookies. Neither
    goes: `no-store` and `private` count however they are written, and a cookie is for one client.
    """
    said = '"cache-control" in response.headers'
    value = 'response.headers["cache-control"]'
    status = 'response.headers[":status"]'
    size = 'response.headers["content-length"]'
    kept_out = (
        '"set-cookie" in response.headers',
        f'({said} && {value}.matches("(?i)(no-store|private)"))',
        f'("content-length" in response.headers && int({size}) > {spec.largest})',
    )
    parts = [f'{" || ".join(kept_out)} ? "no-store" : ']
    if spec.respect_origin:
        parts.append(f'{said} ? {value} : "expires" in response.headers ? "" : ')
    parts.extend(f'{status} == "{code}" ? "{_age(seconds)}" : ' for code, seconds in spec.statuses)
    if spec.ttl is not None:
        listed = ", ".join(f'"{code}"' for code in _LASTING)
        parts.append(f'{status} in [{listed}] ? "{_age(spec.ttl)}" : ')
    return f'{"".join(parts)}"no-store"'


def _age(seconds: int) -> str:
    return f"max-age={seconds}" if seconds > 0 else "no-store"


def _key(spec: ir.Cache, identity: str) -> header_mutation.HeaderMutation:
    """Puts aside what else the inner side puts back, and writes the key; on the way back, HIT or MISS and the
    backend's own headers."""
    config = header_mutation.HeaderMutation()
    request = config.mutations.request_mutations
    for name, value in (
        (_FORWARDED, "%REQ(x-forwarded-for)%"),
        (_AUTHORIZATION, "%REQ(authorization)%" if spec.shared or spec.identity else ""),
        (CLIENT, "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
    ):
        request.add().remove = name  # a client's own: an empty value would leave it there
        if value:
            _set(request.add(), name, value)
    if spec.shared or spec.identity:
        # The cache refuses requests with it. Where nothing was said of users, that is as well.
        request.add().remove = "authorization"
    for name in (*spec.headers, *spec.identity):
        # Of several lines the key has the first; so then has the backend.
        _set(request.add(), name, f"%REQ({name})%", _Action.OVERWRITE_IF_EXISTS)
    parameters = config.mutations.query_parameter_mutations
    _parameter(parameters.add(), "dragoman-route", identity)
    # As it came, byte for byte: the query is here, and nowhere else (`_aside`).
    _parameter(parameters.add(), "dragoman-path", f"%REQ({_PATH})%")
    # Envoys that share a folder do not share a port.
    _parameter(parameters.add(), "dragoman-place", "%DOWNSTREAM_LOCAL_ADDRESS%")
    for name in (*spec.headers, *spec.identity):
        _parameter(parameters.add(), f"dragoman-header-{name}", f"%REQ({name})%")
    for name in spec.identity:
        # Without its header nobody knows whose request it is, so no two of them are the same. A second
        # parameter: clients choose their request's id, and one may be another user's name.
        _parameter(parameters.add(), f"dragoman-request-{name}", f"%REQ({name}?x-request-id)%")
    _give_back(config.mutations.response_mutations, spec)
    return config


def _give_back(response: Changes, spec: ir.Cache) -> None:
    if spec.status_header:
        _set(response.add(), spec.status_header, f'%CEL(response.code_details == "{_HIT}" ? "HIT" : "MISS")%')
    # An answer that did not come from the inner side has nothing put aside: its own stays.
    _set(response.add(), _CACHE_CONTROL, "%RESP(cache-control)%", _Action.ADD_IF_ABSENT)
    response.add().remove = "cache-control"
    own = f'response.headers["{_CACHE_CONTROL}"]'
    _set(response.add(), "cache-control", f'%CEL({own} == "{_NOTHING}" ? "" : {own})%')
    response.add().remove = _CACHE_CONTROL
    _set(response.add(), "vary", f"%RESP({_VARY})%")
    response.add().remove = _VARY
    response.add().remove = "x-envoy-upstream-service-time"  # the cache's own client adds it


def _hide_vary(changes: Changes, names: Iterable[str]) -> None:
    """Envoy keeps no answer with Vary. One that varies by headers of the key may well be kept."""
    pattern = kept.varying(names)
    there = f'"{_VARY}" in response.headers'
    vary = f'response.headers["{_VARY}"]'
    changes.add().remove = _VARY
    _set(changes.add(), _VARY, "%RESP(vary)%")
    changes.add().remove = "vary"
    _set(changes.add(), "vary", f'%CEL({there} && !{vary}.matches("{pattern}") ? {vary} : "")%')


def _names(ignored: Iterable[str]) -> header_mutation.HeaderMutation:
    """Says to the script behind it which parameters do not count, since its code is to be the same for all;
    what clients send under its names goes."""
    config = header_mutation.HeaderMutation()
    request = config.mutations.request_mutations
    request.add().remove = _PATH
    request.add().remove = _IGNORED
    # A `%` begins a format.
    names = "&".join(quote(name, safe="") for name in ignored).replace("%", "%%")
    if names:
        _set(request.add(), _IGNORED, names)
    return config


@functools.cache
def _aside() -> lua.Lua:
    """Puts the path aside, and leaves no query. Envoy decodes the query that it adds parameters to: what a
    `%20` stands for would break the request to the inner side, and `%26` be a parameter more."""
    made = lua.Lua(shared_vm_id=f"{NAME}.aside")
    made.default_source_code.inline_string = resources.files(__package__).joinpath("aside.lua").read_text()
    made.clear_route_cache.value = False  # the route was chosen by the query as it came
    return made


def _store(spec: ir.Cache, inner: str) -> cache_v2.CacheV2Config:
    config = cache_v2.CacheV2Config(
        override_upstream_cluster=inner, ignore_request_cache_control_header=not spec.client_refresh
    )
    place = spec.storage
    store = file_system.FileSystemHttpCacheV2Config(cache_path=_spelled(place))
    store.manager_config.thread_pool.thread_count = 1
    store.max_cache_size_bytes.value = place.size
    config.typed_config.CopyFrom(proto.pack_any(store))
    return config


def _spelled(place: ir.Storage) -> str:
    """The folder, spelled in a way of its own for each size but the default.

    Envoy refuses the second of two stores with one path and different sizes, and with it the whole route
    table, even while one replaces the other. It compares spellings: `/a/b`, `/a/./b` and `/a//b` are three.
    """
    stem = place.directory.rstrip("/")
    if place.size == _USUAL.size:
        return f"{stem}/"
    return stem + "".join("/." if bit == "1" else "/" for bit in f"{place.size:b}") + "/"


def _restore() -> lua.Lua:
    # One machine for all of them: a route's chain would have one of its own (280 kB for each of 2 workers).
    script = lua.Lua(shared_vm_id=NAME)
    script.default_source_code.inline_string = _SCRIPT
    return script


def _add(target: core.TypedExtensionConfig, name: str, message: proto.Message) -> None:
    target.name = name
    target.typed_config.CopyFrom(proto.pack_any(message))


def _set(
    target: mutation_rules.HeaderMutation,
    name: str,
    value: str,
    action: _Action.HeaderAppendAction = _Action.OVERWRITE_IF_EXISTS_OR_ADD,
) -> None:
    target.append.header.key = name
    target.append.header.value = value
    target.append.append_action = action


def _parameter(target: core.KeyValueMutation, name: str, value: str) -> None:
    target.append.record.key = name
    target.append.record.value.string_value = value
    target.append.action = core.KeyValueAppend.OVERWRITE_IF_EXISTS_OR_ADD
