"""Filters that are cut into shards: one stands in the connection manager and sends each request through the
shard of its credential.

Envoy's `composite` does it, told by a matcher: a tree of comparisons of the hash of a header, which is set
before. A shard comes by ECDS under its own name. Routes wake the whole, and what they say to it holds for
the shard.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

from dragoman import proto
from dragoman.envoy import sources
from dragoman.envoy.filters import base
from dragoman.ir import shards
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.extensions.common.matching import v3 as matching
from dragoman.proto.envoy.extensions.filters.http.composite import v3 as composite
from dragoman.proto.envoy.extensions.matching.input_matchers.consistent_hashing import v3 as hashing
from dragoman.proto.envoy.type.matcher import v3 as inputs
from dragoman.proto.xds.core import v3 as xds_core
from dragoman.proto.xds.type.matcher import v3 as matcher

_ACTION: Final = proto.type_url(composite.ExecuteFilterAction)


def name(filter_name: str, number: int) -> str:
    """The resource of a shard."""
    return f"{filter_name}/{number}"


def config(sharded: base.Sharded) -> base.Config:
    """What stands in the connection manager."""
    return _config(sharded.name, sharded.type_url, sharded.by)


def resolve(
    config: bytes, found: Callable[[str], core.TypedExtensionConfig]
) -> matching.ExtensionWithMatcher:
    """The same without discovery: the shards stand in it."""
    message = matching.ExtensionWithMatcher.FromString(config)
    _resolve(message.xds_matcher, found)
    return message


@functools.lru_cache(maxsize=16)
def _config(filter_name: str, type_url: str, header: str) -> base.Config:
    message = matching.ExtensionWithMatcher()
    message.extension_config.name = "composite"
    message.extension_config.typed_config.CopyFrom(proto.pack_any(composite.Composite()))

    def divide(target: matcher.Matcher, low: int, high: int) -> None:
        middle = (low + high) // 2
        upper = target.matcher_list.matchers.add()
        predicate = upper.predicate.single_predicate
        predicate.input.name = "header"
        predicate.input.typed_config.CopyFrom(
            proto.pack_any(inputs.HttpRequestHeaderMatchInput(header_name=header))
        )
        predicate.custom_match.name = "hash"
        predicate.custom_match.typed_config.CopyFrom(
            proto.pack_any(hashing.ConsistentHashing(threshold=middle, modulo=shards.COUNT))
        )
        for one, first, last in ((upper.on_match, middle, high), (target.on_no_match, low, middle)):
            if last - first > 1:
                divide(one.matcher, first, last)
            else:
                shard(one.action, first)

    def shard(target: xds_core.TypedExtensionConfig, number: int) -> None:
        action = composite.ExecuteFilterAction()
        action.dynamic_config.name = name(filter_name, number)
        sources.write_ads(action.dynamic_config.config_discovery.config_source)
        action.dynamic_config.config_discovery.type_urls.append(type_url)
        target.name = "shard"
        target.typed_config.CopyFrom(proto.pack_any(action))

    divide(message.xds_matcher, 0, shards.COUNT)
    return base.config(message)


def _resolve(target: matcher.Matcher, found: Callable[[str], core.TypedExtensionConfig]) -> None:
    for one in (target.on_no_match, *(each.on_match for each in target.matcher_list.matchers)):
        if one.HasField("matcher"):
            _resolve(one.matcher, found)
        elif one.action.typed_config.type_url == _ACTION:
            action = composite.ExecuteFilterAction.FromString(one.action.typed_config.value)
            given = found(action.dynamic_config.name)
            action = composite.ExecuteFilterAction()
            action.typed_config.CopyFrom(given)
            one.action.typed_config.CopyFrom(proto.pack_any(action))
