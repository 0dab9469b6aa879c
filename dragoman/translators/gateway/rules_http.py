"""Rules of HTTPRoute that span several fields (the CRD's CEL validations).

One plain pass over the decoded spec: cheaper than validators on each shape, and the paths come out
exact. It runs for every HTTPRoute, so the common case (a path, some backends) is left early.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from dragoman.diagnostics import Diagnostic, error
from dragoman.ir import origins
from dragoman.refs import Origin, Ref
from dragoman.translators.gateway import matching, rules_repeats
from dragoman.translators.gateway.models import httproute as model, meta

MATCHES: Final = 128
_GOOD: Final = re.compile(
    r"(?!.*(?://|/\.\.?(?:/|$)|%2[fF]))/(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*"
)
"""An absolute path as requests have it once normalised: no empty, `.` or `..` segments, no encoded slash."""
_REPLACEMENT: Final = re.compile(r"[!-~]*")
_FIELDS: Final[dict[str, tuple[str, str]]] = {
    "RequestHeaderModifier": ("request_header_modifier", "requestHeaderModifier"),
    "ResponseHeaderModifier": ("response_header_modifier", "responseHeaderModifier"),
    "RequestMirror": ("request_mirror", "requestMirror"),
    "RequestRedirect": ("request_redirect", "requestRedirect"),
    "URLRewrite": ("url_rewrite", "urlRewrite"),
    "ExtensionRef": ("extension_ref", "extensionRef"),
    "CORS": ("cors", "cors"),
    "ExternalAuth": ("external_auth", "externalAuth"),
}
_PLAIN: Final = frozenset(("RequestHeaderModifier", "ResponseHeaderModifier", "ExtensionRef", "ExternalAuth"))
_ONCE: Final = frozenset(
    ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite", "CORS")
)


def check(ref: Ref, spec: model.HttpRoute) -> Iterator[Diagnostic]:
    """What the API server would refuse."""
    yield from shared(ref, spec.parent_refs, spec.rules)


def shared(
    ref: Ref, parent_refs: tuple[meta.ParentReference, ...], rules: tuple[model.Rule, ...]
) -> Iterator[Diagnostic]:
    """The part that GRPCRoute has as well."""
    origin = Origin(ref, ("spec",))
    if len(parent_refs) > 1:
        yield from distinct(origin.at("parentRefs"), parent_refs)
    total = 0
    names: dict[str, int] = {}
    for at, rule in enumerate(rules):
        total += len(rule.matches)
        if rule.name is not None:
            if rule.name in names:
                message = f"rule name `{rule.name}` is taken by rules[{names[rule.name]}]"
                yield error("DRG1108", message, origin.at("rules", at, "name"))
            names.setdefault(rule.name, at)
        yield from _rule(origin, at, rule)
    if total > MATCHES:
        message = f"the rules have {total} matches together"
        yield error("DRG1107", message, origin.at("rules"), label=f"expected at most {MATCHES}")


def distinct(here: Origin, parents: tuple[meta.ParentReference, ...]) -> Iterator[Diagnostic]:
    """What is wrong with parentRefs that name one parent several times."""
    seen: dict[tuple[object, ...], meta.ParentReference] = {}
    exact: set[tuple[object, ...]] = set()
    for at, parent in enumerate(parents):
        target = (parent.group, parent.kind, parent.namespace, parent.name)
        section = (*target, parent.section_name, parent.port)
        first = seen.setdefault(target, parent)
        if section in exact:
            yield error("DRG1108", f"{parent.kind} {parent.name} is listed twice", here.at(at))
        elif (first.section_name is None, first.port is None) != (
            parent.section_name is None,
            parent.port is None,
        ):
            message = (
                f"parentRefs to {parent.kind} {parent.name} must all set sectionName, or port, or both alike"
            )
            yield error("DRG1108", message, here.at(at))
        exact.add(section)


def _rule(origin: Origin, index: int, rule: model.Rule) -> Iterator[Diagnostic]:
    for at, match in enumerate(rule.matches):
        path = match.path
        if path.type != "RegularExpression" and _GOOD.fullmatch(path.value) is None:
            yield _bad_path(origin.at("rules", index, "matches", at, "path", "value"), path.value)
        if len(match.headers) > 1 or len(match.query_params) > 1:
            yield from rules_repeats.of_match(origin.at("rules", index, "matches", at), match)
    for at, ref in enumerate(rule.backend_refs):
        if ref.port is None and ref.kind == "Service" and not ref.group:
            yield no_port(origin.at("rules", index, "backendRefs", at))
        if ref.filters:
            here = origin.at("rules", index, "backendRefs", at, "filters")
            yield from _filters(here, ref.filters, rule)
    if rule.filters:
        yield from _filters(origin.at("rules", index, "filters"), rule.filters, rule)
        if rule.backend_refs and any(f.type == "RequestRedirect" for f in rule.filters):
            yield error(
                "DRG1108",
                "a rule redirects or forwards: it has a RequestRedirect filter and backendRefs",
                origin.at("rules", index, "backendRefs"),
                help="drop one of the two",
            )
    if rule.retry is not None:
        yield from rules_repeats.of_retry(origin.at("rules", index, "retry"), rule.retry)
    if rule.timeouts is not None or rule.session_persistence is not None:
        yield from _timing(origin.at("rules", index), rule)


def _bad_path(where: Origin, value: str) -> Diagnostic:
    if not value.startswith("/"):
        return error("DRG1103", f"path `{value}` does not start with `/`", where, help=f"write `/{value}`")
    for bad in ("//", "/./", "/../", "%2f", "%2F", "#"):
        if bad in value:
            return error(
                "DRG1103", f"path `{value}` contains `{bad}`", where, label="no request has such a path"
            )
    return error("DRG1103", f"path `{value}` is malformed", where, label="no request has such a path")


def no_port(where: Origin) -> Diagnostic:
    """A reference to a Service needs one."""
    return error("DRG1102", "`port` is missing", where, label="a Service is referred to with its port")


def _filters(here: Origin, filters: tuple[model.Filter, ...], rule: model.Rule) -> Iterator[Diagnostic]:
    for at, item in enumerate(filters):
        attribute, field = _FIELDS[item.type]
        if getattr(item, attribute) is None:
            yield error(
                "DRG1102", f"`{field}` is missing", here.at(at), label=f"type {item.type} needs `{field}`"
            )
        for kind, (other, field) in _FIELDS.items():
            if kind != item.type and getattr(item, other) is not None:
                yield error("DRG1108", f"a filter of type {item.type} has no `{field}`", here.at(at, field))
        yield from rules_repeats.of_filter(here.at(at), item)
        if item.type not in _PLAIN:
            yield from _filter(here.at(at), item, rule)
    if len(filters) == 1:
        return
    counts = Counter[str](item.type for item in filters)
    for kind in sorted(_ONCE & counts.keys()):
        if counts[kind] > 1:
            yield error(
                "DRG1108", f"{kind} filters may not be repeated", here, label=f"{counts[kind]} of them"
            )
    if counts["RequestRedirect"] and counts["URLRewrite"]:
        yield error("DRG1108", "RequestRedirect and URLRewrite exclude each other", here)


def _filter(where: Origin, item: model.Filter, rule: model.Rule) -> Iterator[Diagnostic]:
    if item.request_redirect is not None:
        yield from _modifier(where.at("requestRedirect", "path"), item.request_redirect.path, rule)
    if item.url_rewrite is not None:
        yield from _modifier(where.at("urlRewrite", "path"), item.url_rewrite.path, rule)
    mirror = item.request_mirror
    if mirror is not None:
        target = mirror.backend_ref
        if target.port is None and target.kind == "Service" and not target.group:
            yield no_port(where.at("requestMirror", "backendRef"))
        if mirror.percent is not None and mirror.fraction is not None:
            yield error(
                "DRG1108", "`percent` and `fraction` exclude each other", where.at("requestMirror", "percent")
            )
        if mirror.fraction is not None and mirror.fraction.numerator > mirror.fraction.denominator:
            yield error(
                "DRG1104",
                f"`numerator` {mirror.fraction.numerator} is out of range",
                where.at("requestMirror", "fraction", "numerator"),
                label=f"expected at most the denominator, {mirror.fraction.denominator}",
            )
    if item.cors is not None:
        for field, values in (
            ("allowOrigins", item.cors.allow_origins),
            ("allowMethods", item.cors.allow_methods),
            ("allowHeaders", item.cors.allow_headers),
        ):
            if "*" in values and len(values) > 1:
                yield error("DRG1108", f"`*` in {field} stands alone", where.at("cors", field))
        for at, origin in enumerate(item.cors.allow_origins):
            if "*" in origin and (flaw := matching.flaw_of(origins.expression(origin))):
                label = f"as a regular expression {flaw}"
                here = where.at("cors", "allowOrigins", at)
                yield error("DRG1103", "the origin is too long", here, label=label)


def _modifier(where: Origin, path: model.PathModifier | None, rule: model.Rule) -> Iterator[Diagnostic]:
    if path is None:
        return
    fields = {"ReplaceFullPath": path.replace_full_path, "ReplacePrefixMatch": path.replace_prefix_match}
    for kind, value in fields.items():
        field = kind[0].lower() + kind[1:]
        if value is None and kind == path.type:
            yield error("DRG1102", f"`{field}` is missing", where, label=f"type {kind} needs `{field}`")
        if value is not None and kind != path.type:
            yield error("DRG1108", f"type {path.type} has no `{field}`", where.at(field))
        if value is not None and _REPLACEMENT.fullmatch(value) is None:
            label = "expected visible ASCII; other characters are written with %"
            yield error("DRG1103", "the new path can be in no URL", where.at(field), label=label)
    if path.type == "ReplacePrefixMatch" and (
        len(rule.matches) > 1 or any(m.path.type != "PathPrefix" for m in rule.matches)
    ):
        yield error(
            "DRG1108",
            "ReplacePrefixMatch replaces the one prefix that was matched",
            where.at("type"),
            label="the rule must have exactly one match, of type PathPrefix",
        )


def _timing(here: Origin, rule: model.Rule) -> Iterator[Diagnostic]:
    times = rule.timeouts
    if times is not None and times.request and (times.backend_request or 0.0) > times.request:
        yield error(
            "DRG1108",
            "the `backendRequest` timeout is longer than that of the whole request",
            here.at("timeouts", "backendRequest"),
            label=f"expected at most {times.request:g}s",
        )
    session = rule.session_persistence
    if session is None or session.cookie_config is None:
        return
    where = here.at("sessionPersistence")
    if session.type != "Cookie":
        yield error("DRG1108", f"type {session.type} has no `cookieConfig`", where.at("cookieConfig"))
    if session.cookie_config.lifetime_type == "Permanent" and session.absolute_timeout is None:
        yield error(
            "DRG1102", "`absoluteTimeout` is missing", where, label="a Permanent cookie needs its lifetime"
        )
