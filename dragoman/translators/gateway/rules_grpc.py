"""Rules of GRPCRoute that span several fields (the CRD's CEL validations)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from dragoman.diagnostics import Diagnostic, error
from dragoman.refs import Origin, Ref
from dragoman.translators.gateway import routes_grpc, rules_http, rules_repeats
from dragoman.translators.gateway.models import grpcroute as model, httproute

_SERVICE: Final = re.compile(r"(?i:\.?[a-z_][a-z_0-9]*(\.[a-z_][a-z_0-9]*)*)")
_METHOD: Final = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_FILTERS: Final = ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "ExtensionRef")


def check(ref: Ref, spec: model.GrpcRoute) -> Iterator[Diagnostic]:
    """What the API server would refuse."""
    rules = tuple(routes_grpc.as_http(rule) for rule in spec.rules)
    yield from rules_http.shared(ref, spec.parent_refs, rules)
    origin = Origin(ref, ("spec", "rules"))
    total = sum(len(rule.matches) for rule in spec.rules)
    if total > rules_http.MATCHES:
        message = f"the rules have {total} matches together"
        yield error("DRG1107", message, origin, label=f"expected at most {rules_http.MATCHES}")
    for at, rule in enumerate(spec.rules):
        for number, match in enumerate(rule.matches):
            yield from rules_repeats.of_match(origin.at(at, "matches", number), match)
            if match.method is not None:
                yield from _method(origin.at(at, "matches", number, "method"), match.method)
        yield from _filters(origin.at(at, "filters"), rule.filters)
        for number, backend in enumerate(rule.backend_refs):
            yield from _filters(origin.at(at, "backendRefs", number, "filters"), backend.filters)


def _method(where: Origin, method: model.MethodMatch) -> Iterator[Diagnostic]:
    if not method.service and not method.method:
        yield error("DRG1102", "`service` or `method` is missing", where, label="one of them is needed")
    if method.type != "Exact":
        return
    for field, value, form in (("service", method.service, _SERVICE), ("method", method.method, _METHOD)):
        if value and form.fullmatch(value) is None:
            message = f"`{value}` is no {field}'s name"
            yield error("DRG1103", message, where.at(field), help="type RegularExpression takes patterns")


def _filters(where: Origin, filters: tuple[httproute.Filter, ...]) -> Iterator[Diagnostic]:
    for at, one in enumerate(filters):
        if one.type not in _FILTERS:
            message = f"a GRPCRoute has no {one.type} filter"
            label = f"expected one of {', '.join(_FILTERS)}"
            yield error("DRG1106", message, where.at(at, "type"), label=label)
