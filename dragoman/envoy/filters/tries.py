"""A filter within each try: it numbers the tries and keeps the router from hammering a backend that asked for
patience. It stands in the router's own chain (`router.py`), asleep, and a route with retries wakes it.

Envoy waits as long as a retried response says (`Retry-After`), but ignores the header where it says more than
the route allows or is a date, and then retries within milliseconds. Such responses are marked here with
`x-envoy-ratelimited`, which the router takes for "do not try again"; the client gets the response as it
is. `X-RateLimit-Reset` counts with status 429 only, since many backends send it with every response; it
is a number of seconds, or a Unix timestamp (anything above `_EPOCH`).
"""

from __future__ import annotations

import functools
from typing import Final

from dragoman.envoy.filters import base, mutations
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.common.mutation_rules import v3 as mutation_rules
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.extensions.filters.http.header_mutation import v3 as header_mutation

RESET: Final = "x-dragoman-reset"
"""Between this filter and the router: the seconds that `X-RateLimit-Reset` stands for."""

MARK: Final = "x-envoy-ratelimited"
COUNT: Final = "x-envoy-attempt-count"
NUMBER: Final = "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"

_EPOCH: Final = 1_000_000_000
_AFTER: Final = 'response.headers["retry-after"]'
_STAMP: Final = 'response.headers["x-ratelimit-reset"]'
_HAS_AFTER: Final = '"retry-after" in response.headers'
_HAS_STAMP: Final = (
    f'response.headers[":status"] == "429" && "x-ratelimit-reset" in response.headers'
    f' && {_STAMP}.matches("^[0-9]{{1,10}}$")'
)
_SECONDS: Final = f"(int({_STAMP}) > {_EPOCH} ? int({_STAMP}) - int(request.time) : int({_STAMP}))"


class Tries(mutations.Mutations):
    """`envoy.filters.http.header_mutation`, under a name of its own."""

    name = "dragoman.tries"

    def per_route(self, route: ir.Route) -> base.Config | None:
        action = route.action
        if not isinstance(action, ir.Forward) or action.retry is None:
            return None
        wait = action.retry.wait if action.retry.tries else None
        if not wait and not action.retry.tell_backend:
            return None
        return _per_route(wait, action.retry.tell_backend)


FILTER = Tries()


@functools.lru_cache(maxsize=1024)
def _per_route(wait: float | None, tell_backend: bool) -> base.Config:
    override = header_mutation.HeaderMutationPerRoute()
    if tell_backend:
        _set(override.mutations.request_mutations.add(), COUNT, NUMBER)
    if wait:
        limit = int(wait)
        reset = f'{_HAS_AFTER} ? "" : ({_HAS_STAMP} && {_SECONDS} > 0 ? {_SECONDS} : "")'
        too_long = (
            f'{_HAS_AFTER} ? ({_AFTER}.matches("^[0-9]{{1,9}}$") ? int({_AFTER}) > {limit} : true)'
            f" : ({_HAS_STAMP} ? {_SECONDS} > {limit} : false)"
        )
        _set(override.mutations.response_mutations.add(), RESET, f"%CEL({reset})%")
        _set(override.mutations.response_mutations.add(), MARK, f'%CEL(({too_long}) ? "true" : "")%')
    return base.config(override)


def _set(target: mutation_rules.HeaderMutation, name: str, value: str) -> None:
    target.append.header.key = name
    target.append.header.value = value
    target.append.append_action = core.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
