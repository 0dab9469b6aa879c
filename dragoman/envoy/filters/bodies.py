"""Bodies: compression of responses, decompression and a size limit of requests.

What Envoy lets a route say of these filters is next to nothing (a compressor's library, but not its content
types; of the limit nothing at all), so one `filter_chain` stands asleep, and a route brings along the filters
that it wants, complete. They keep no state, so an update of the route table loses none.

Requests pass decompressor, then limit: what counts is what the backend would get. The limit streams: a body
that says its length is refused before it is sent, another one where it has become too long.

Of several algorithms that a client likes equally Envoy takes the one that the client names first, unless a
compressor says `choose_first`; of several that say so the last one named. So the first of our list says it,
and the second one does where browsers name it earlier (`gzip, br, zstd`): browsers get what is preferred
whatever they can do.
"""

from __future__ import annotations

import functools
from typing import Final, NamedTuple

from dragoman import proto
from dragoman.envoy.filters import base
from dragoman.ir import model as ir, treatment
from dragoman.proto.envoy.extensions.compression.brotli.compressor import v3 as brotli
from dragoman.proto.envoy.extensions.compression.gzip.compressor import v3 as gzip
from dragoman.proto.envoy.extensions.compression.gzip.decompressor import v3 as ungzip
from dragoman.proto.envoy.extensions.compression.zstd.compressor import v3 as zstd
from dragoman.proto.envoy.extensions.filters.http.body_size_limit import v3 as body_size_limit
from dragoman.proto.envoy.extensions.filters.http.compressor import v3 as compressor
from dragoman.proto.envoy.extensions.filters.http.decompressor import v3 as decompressor
from dragoman.proto.envoy.extensions.filters.http.filter_chain import v3 as filter_chain
from dragoman.proto.envoy.type.matcher import v3 as matcher

_CUSTOMARY: Final = (treatment.Algorithm.GZIP, treatment.Algorithm.BROTLI, treatment.Algorithm.ZSTD)
"""The order in which browsers name them."""

_ANY_RATIO: Final = 1032
"""What DEFLATE yields at most, and the most that Envoy takes."""

_LIBRARIES: Final = {
    treatment.Algorithm.BROTLI: "brotli",
    treatment.Algorithm.GZIP: "gzip",
    treatment.Algorithm.ZSTD: "zstd",
}


class Bodies:
    """An `envoy.filters.http.filter_chain`."""

    name = "dragoman.http.bodies"
    disabled = True

    def config(self) -> base.Config:
        return base.config(filter_chain.FilterChainConfig())

    def per_route(self, route: ir.Route) -> base.Config | None:
        given = route.treatment
        if given.compression is None and not given.decompression and given.body_limit is None:
            return None
        return _per_route(_Wanted(given.compression, given.decompression, given.body_limit))


FILTER = Bodies()


class _Wanted(NamedTuple):
    """The part of a treatment that counts here: many routes share it."""

    compression: treatment.Compression | None
    decompression: tuple[treatment.Algorithm, ...]
    limit: int | None


@functools.lru_cache(maxsize=1024)
def _per_route(wanted: _Wanted) -> base.Config:
    made = filter_chain.FilterChainConfigPerRoute()
    if wanted.compression is not None:
        for algorithm in wanted.compression.algorithms:
            _add(made, f"compressor.{algorithm.value}", _compressor(wanted.compression, algorithm))
    if wanted.decompression:
        _add(made, "decompressor.gzip", _decompressor())
    if wanted.limit is not None:
        limit = body_size_limit.BodySizeLimit()
        limit.max_request_bytes.value = wanted.limit
        _add(made, "body_size_limit", limit)
    return base.config(made)


def _add(target: filter_chain.FilterChainConfigPerRoute, name: str, config: proto.Message) -> None:
    entry = target.filter_chain.filters.add(name=name)
    entry.typed_config.CopyFrom(proto.pack_any(config))


def _compressor(given: treatment.Compression, algorithm: treatment.Algorithm) -> compressor.Compressor:
    made = compressor.Compressor(choose_first=_first(given.algorithms, algorithm))
    made.compressor_library.name = _LIBRARIES[algorithm]
    made.compressor_library.typed_config.CopyFrom(proto.pack_any(_library(algorithm, given.effort)))
    response = made.response_direction_config
    response.common_config.min_content_length.value = min(given.min_length, 2**32 - 1)
    for wanted in given.content_types:
        _type(response.common_config.content_type_matcher.add(), wanted)
    response.weaken_etag_on_compress = given.weaken_etags
    response.disable_on_etag_header = not given.weaken_etags
    response.uncompressible_response_codes.extend(given.except_statuses)
    return made


def _first(preferred: tuple[treatment.Algorithm, ...], algorithm: treatment.Algorithm) -> bool:
    at = preferred.index(algorithm)
    return at == 0 or (at == 1 and _CUSTOMARY.index(algorithm) < _CUSTOMARY.index(preferred[0]))


def _type(target: matcher.StringMatcher, wanted: str) -> None:
    target.ignore_case = True
    before, star, after = wanted.partition("*")
    if not star:
        target.exact = wanted
    elif not after:
        target.prefix = before
    else:
        target.suffix = after


def _library(algorithm: treatment.Algorithm, effort: treatment.Effort) -> proto.Message:
    """How hard each tries. Brotli's and zstd's highest levels are for files that are compressed once."""
    low, middle, high = treatment.Effort.FASTEST, treatment.Effort.BALANCED, treatment.Effort.SMALLEST
    match algorithm:
        case treatment.Algorithm.BROTLI:
            made = brotli.Brotli()
            made.quality.value = {low: 1, middle: 4, high: 9}[effort]
            return made
        case treatment.Algorithm.GZIP:
            levels = gzip.Gzip
            return gzip.Gzip(
                compression_level={
                    low: levels.COMPRESSION_LEVEL_1,
                    middle: levels.COMPRESSION_LEVEL_6,
                    high: levels.COMPRESSION_LEVEL_9,
                }[effort]
            )
        case treatment.Algorithm.ZSTD:
            packed = zstd.Zstd()
            packed.compression_level.value = {low: 1, middle: 3, high: 12}[effort]
            return packed


def _decompressor() -> decompressor.Decompressor:
    """Of requests alone. Clients are not told to compress: whether they may is the backend's to say.

    Beyond its ratio Envoy drops the rest of a body without a word. That of gzip can be set higher than any
    body's; those of the other algorithms are fixed at 100, which a long row of zeros exceeds.
    """
    library = ungzip.Gzip()
    library.max_inflate_ratio.value = _ANY_RATIO
    made = decompressor.Decompressor()
    made.decompressor_library.name = "gzip"
    made.decompressor_library.typed_config.CopyFrom(proto.pack_any(library))
    made.request_direction_config.advertise_accept_encoding.value = False
    enabled = made.response_direction_config.common_config.enabled
    enabled.runtime_key = "dragoman.decompress_responses"
    enabled.default_value.value = False
    return made
