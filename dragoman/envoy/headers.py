"""Header changes of the IR into Envoy's four fields. Used by `routes.py` for routes and for shares of traffic.

Three traps: `%` starts a format command in Envoy and is doubled; an empty value means "leave it out" unless
told otherwise; and `Host` and pseudo headers make Envoy refuse the whole route table, so they are left out here (the
translator reports them, or turns `Host` into a host rewrite).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from dragoman.ir import model as ir
from dragoman.proto.envoy.config.core import v3 as core

if TYPE_CHECKING:
    from google.protobuf.internal.containers import (
        RepeatedCompositeFieldContainer,
        RepeatedScalarFieldContainer,
    )

    Options = RepeatedCompositeFieldContainer[core.HeaderValueOption]
    Names = RepeatedScalarFieldContainer[str]


class Mutable(Protocol):
    """A Route or a ClusterWeight: both have these four fields."""

    @property
    def request_headers_to_add(self) -> Options: ...
    @property
    def request_headers_to_remove(self) -> Names: ...
    @property
    def response_headers_to_add(self) -> Options: ...
    @property
    def response_headers_to_remove(self) -> Names: ...


def changeable(name: str) -> bool:
    """Whether Envoy lets a route change this header."""
    return not name.startswith(":") and name.lower() != "host"


def write(target: Mutable, request: ir.HeaderMutation, response: ir.HeaderMutation) -> None:
    """Writes both mutations into `target`. Envoy removes before it adds, as the IR asks."""
    if request:
        _add(target.request_headers_to_add, request)
        target.request_headers_to_remove.extend(filter(changeable, request.remove))
    if response:
        _add(target.response_headers_to_add, response)
        target.response_headers_to_remove.extend(filter(changeable, response.remove))


def _add(target: Options, mutation: ir.HeaderMutation) -> None:
    _each(target, mutation.set, core.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD)
    _each(target, mutation.add, core.HeaderValueOption.APPEND_IF_EXISTS_OR_ADD)


def _each(
    target: Options, headers: Iterable[tuple[str, str]], action: core.HeaderValueOption.HeaderAppendAction
) -> None:
    for name, value in headers:
        if not changeable(name):
            continue
        option = target.add()
        option.header.key = name
        option.header.value = value.replace("%", "%%")
        option.append_action = action
        if not value:
            option.keep_empty_value = True
