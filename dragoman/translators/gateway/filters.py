"""Filters of a rule -> header changes, redirect, rewrite, CORS, mirrors.

Filters on a backendRef: header changes apply to that backend's share. Envoy has no place for the others
on one of several backends: such backends get routes of their own (`apart`), and on a route whose traffic
goes to one backend alone they mean the same as on the rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from dragoman.diagnostics import Diagnostic, error, warning
from dragoman.graph.collection import Context
from dragoman.ir import model as ir, origins
from dragoman.refs import Origin, Ref
from dragoman.translators.gateway import backends, identical
from dragoman.translators.gateway.models import httproute as model

_NAME: Final = re.compile(r"[a-z0-9!#$%&'*+\-.^_`|~]+")
_known: Final[identical.Translations[ir.HeaderMutation]] = identical.Translations()


@dataclass(slots=True)
class Filters:
    """What the filters of one rule come to. `refused`: filters that cannot be skipped, so the rule answers
    500.
    """

    request: ir.HeaderMutation = ir.NO_MUTATION
    response: ir.HeaderMutation = ir.NO_MUTATION
    redirect: ir.Redirect | None = None
    path: ir.PathRewrite | None = None
    hostname: str = ""
    cors: ir.Cors | None = None
    mirrors: list[ir.Mirror] = field(default_factory=list)
    findings: list[Diagnostic] = field(default_factory=list)
    refused: list[Diagnostic] = field(default_factory=list)
    unresolved: list[backends.Unresolved] = field(default_factory=list)

    def copy(self) -> Filters:
        """The same filters for another share; what there is to say about them has been said."""
        return replace(self, mirrors=[*self.mirrors], refused=[*self.refused], findings=[], unresolved=[])


def apart(refs: Iterable[model.HttpBackendRef]) -> bool:
    """Whether backends must have routes of their own: several get traffic, and some have filters that Envoy
    knows on routes alone."""
    weighted = [one for one in refs if one.weight]
    return len(weighted) > 1 and any(_routes_alone(item) for one in weighted for item in one.filters)


def _routes_alone(item: model.Filter) -> bool:
    modifier = item.request_header_modifier
    return item.type in ("RequestRedirect", "URLRewrite", "RequestMirror", "CORS") or (
        modifier is not None and bool(_host(modifier))
    )


def translate(
    ctx: Context,
    sources: backends.Sources,
    ref: Ref,
    items: Iterable[model.Filter],
    prefix: str,
    origin: Origin,
    found: Filters,
) -> None:
    """Adds the filters at `origin` to `found`. `prefix` is what the rule's PathPrefix match matched."""
    for at, item in enumerate(items):
        _add(ctx, sources, ref, item, prefix, origin.at(at), found)


def _add(
    ctx: Context,
    sources: backends.Sources,
    ref: Ref,
    item: model.Filter,
    prefix: str,
    here: Origin,
    found: Filters,
) -> None:
    if item.request_header_modifier is not None:
        where = here.at("requestHeaderModifier")
        found.request = _mutation(item.request_header_modifier, where, found, host=True)
        found.hostname = found.hostname or _host(item.request_header_modifier)
    elif item.response_header_modifier is not None:
        found.response = _mutation(item.response_header_modifier, here.at("responseHeaderModifier"), found)
    elif item.request_redirect is not None:
        found.redirect = _redirect(item.request_redirect, prefix)
    elif item.url_rewrite is not None:
        found.path = _path(item.url_rewrite.path, prefix)
        found.hostname = item.url_rewrite.hostname or found.hostname
    elif item.cors is not None:
        found.cors = _cors(item.cors)
    elif item.request_mirror is not None:
        _mirror(ctx, sources, ref, item.request_mirror, here.at("requestMirror"), found)
    else:
        found.refused.append(_refusal(item, here))


def of_backend(
    ctx: Context,
    sources: backends.Sources,
    ref: Ref,
    backend: model.HttpBackendRef,
    prefix: str,
    origin: Origin,
    rule: Filters,
) -> tuple[ir.HeaderMutation, ir.HeaderMutation]:
    """Request and response changes of the backendRef at `origin`. The other filters are added to `rule`, the
    traffic of which it gets alone (`apart`)."""
    request = response = ir.NO_MUTATION
    for at, item in enumerate(backend.filters):
        here = origin.at("filters", at)
        if item.request_header_modifier is not None:
            given = item.request_header_modifier
            moved = bool(backend.weight and _host(given)) and not rule.hostname
            if moved:
                rule.hostname = _host(given)
            request = _mutation(given, here.at("requestHeaderModifier"), rule, host=moved)
        elif item.response_header_modifier is not None:
            response = _mutation(item.response_header_modifier, here.at("responseHeaderModifier"), rule)
        elif backend.weight == 0:
            continue  # never takes effect
        elif item.type in ("ExtensionRef", "ExternalAuth"):
            rule.refused.append(_refusal(item, here))
        elif _taken(rule, item):
            rule.refused.append(
                error(
                    "DRG1302", f"the rule has a {item.type} filter already", here, help="keep one of the two"
                )
            )
        else:
            _add(ctx, sources, ref, item, prefix, here, rule)
    return request, response


def _mutation(
    given: model.HeaderModifier, origin: Origin, found: Filters, *, host: bool = False
) -> ir.HeaderMutation:
    """Names in lower case; of several entries for one name the first counts.

    Envoy refuses a route table that changes `Host` or pseudo headers this way, so they are left out. `host`:
    whoever calls sets Host by other means.
    """
    known = _known.of(given)
    if known is not None:
        return known
    made = ir.HeaderMutation(
        _first(given.set), _first(given.add), tuple(dict.fromkeys(n.lower() for n in given.remove))
    )
    if all(map(_changeable, (*dict(made.set), *dict(made.add), *made.remove))):
        return _known.keep(given, made)
    for part, names in (("set", dict(made.set)), ("add", dict(made.add)), ("remove", made.remove)):
        for name in names:
            if not _changeable(name) and not (host and part == "set"):
                found.findings.append(_fixed(name, origin.at(part)))
    return ir.HeaderMutation(
        tuple(one for one in made.set if _changeable(one[0])),
        tuple(one for one in made.add if _changeable(one[0])),
        tuple(filter(_changeable, made.remove)),
    )


def _host(given: model.HeaderModifier) -> str:
    """What a modifier sets Host to, if it does."""
    return next((header.value for header in given.set if header.name.lower() == "host"), "")


def _changeable(name: str) -> bool:
    return name != "host" and _NAME.fullmatch(name) is not None


def _fixed(name: str, origin: Origin) -> Diagnostic:
    return warning(
        "DRG3001",
        f"header `{name}` cannot be changed here",
        origin,
        help="a RequestHeaderModifier on the rule may set Host, as a URLRewrite may"
        if name.lower() == "host"
        else "",
    )


def _first(given: tuple[model.Header, ...]) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for header in given:
        found.setdefault(header.name.lower(), header.value)
    return tuple(found.items())


def _taken(rule: Filters, item: model.Filter) -> bool:
    match item.type:
        case "RequestRedirect" | "URLRewrite":
            return rule.redirect is not None or rule.path is not None or bool(rule.hostname)
        case "CORS":
            return rule.cors is not None
        case _:
            return False


def _redirect(given: model.RequestRedirect, prefix: str) -> ir.Redirect:
    """The port is settled where the listener is known (`graph.pipeline`)."""
    return ir.Redirect(
        given.status_code, given.scheme or "", given.hostname or "", given.port, _path(given.path, prefix)
    )


def _path(given: model.PathModifier | None, prefix: str) -> ir.PathRewrite | None:
    if given is None:
        return None
    if given.type == "ReplaceFullPath":
        return ir.ReplaceFullPath(_absolute(given.replace_full_path or ""))
    return ir.ReplacePrefix(prefix, _absolute((given.replace_prefix_match or "").rstrip("/")))


def _absolute(path: str) -> str:
    """Paths begin with a slash; a redirect to `b` would go to another host, `http://a.exampleb`."""
    return path if path.startswith("/") else f"/{path}"


def _cors(given: model.Cors) -> ir.Cors:
    return ir.Cors(
        tuple(map(origins.canonical, given.allow_origins)),
        given.allow_methods,
        given.allow_headers,
        given.expose_headers,
        bool(given.allow_credentials),
        given.max_age,
    )


def _mirror(
    ctx: Context,
    sources: backends.Sources,
    ref: Ref,
    given: model.RequestMirror,
    origin: Origin,
    found: Filters,
) -> None:
    """A mirror that leads nowhere is left out; the route's requests go on."""
    # A copy is spoken like what it is a copy of.
    transport = ir.Transport.GRPC if ref.kind == "GRPCRoute" else ir.Transport.APPLICATION
    cluster = backends.resolve(ctx, sources, ref, given.backend_ref, origin.at("backendRef"), transport)
    if isinstance(cluster, backends.Unresolved):
        found.unresolved.append(cluster)
        return
    share = given.fraction
    if share is not None:
        found.mirrors.append(ir.Mirror(cluster, share.numerator, share.denominator))
    else:
        found.mirrors.append(ir.Mirror(cluster, 100 if given.percent is None else given.percent))


def _refusal(item: model.Filter, here: Origin) -> Diagnostic:
    label = "requests for this rule get a 500, as if the filter had refused them"
    if item.extension_ref is not None:
        wanted = item.extension_ref
        message = f"filters of kind {wanted.kind} of {wanted.group or 'the core group'} are not supported"
        return error("DRG1305", message, here.at("extensionRef"), label=label)
    return error("DRG1305", f"{item.type} filters are not supported", here, label=label)
