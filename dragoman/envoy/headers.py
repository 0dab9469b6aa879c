"""Header changes of the IR into Envoy's four fields. Used by `routes.py`, for routes and shares of traffic.

Three traps: `%` starts a format command in Envoy and is doubled; an empty value means "leave it out" unless
told otherwise; and `Host` and pseudo headers make Envoy refuse the whole route table, so they are left out
here (the translator reports them, or turns `Host` into a host rewrite).

A fourth: Envoy applies the changes of a share of traffic before those of its route, so the route would
win. Here several mutations are written as one, the later after the earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from dragoman.ir import model as ir
from dragoman.proto.envoy.config.core import v3 as core

if TYPE_CHECKING:
    from google.protobuf.internal import containers

    Options = containers.RepeatedCompositeFieldContainer[core.HeaderValueOption]
    Names = containers.RepeatedScalarFieldContainer[str]


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


def literal(value: str) -> str:
    """A value as Envoy has to be told it: `%` starts a format command."""
    return value.replace("%", "%%")


def write_request(target: Mutable, *mutations: ir.HeaderMutation) -> None:
    """Changes of the request, in order."""
    _write(target.request_headers_to_add, target.request_headers_to_remove, mutations)


def write_response(target: Mutable, *mutations: ir.HeaderMutation) -> None:
    """Changes of the response, in order."""
    _write(target.response_headers_to_add, target.response_headers_to_remove, mutations)


def _write(options: Options, names: Names, mutations: Sequence[ir.HeaderMutation]) -> None:
    """Envoy removes first: what a later mutation removes, an earlier one may not add."""
    for index, mutation in enumerate(mutations):
        gone = {name.lower() for later in mutations[index + 1 :] for name in later.remove}
        for name, value in mutation.set:
            _add(options, name, value, gone, overwrite=True)
        for name, value in mutation.add:
            _add(options, name, value, gone, overwrite=False)
        names.extend(filter(changeable, mutation.remove))


def _add(options: Options, name: str, value: str, gone: set[str], *, overwrite: bool) -> None:
    if not changeable(name) or name.lower() in gone:
        return
    option = options.add()
    option.header.key = name
    option.header.value = literal(value)
    if overwrite:
        option.append_action = core.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    if not value:
        option.keep_empty_value = True
