"""Rules of AuthPolicies about browsers, services that are asked, and certificates. Called by `rules_auth`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from dragoman.diagnostics import Diagnostic, error
from dragoman.ir import origins
from dragoman.refs import Origin
from dragoman.translators.gateway import matching
from dragoman.translators.gateway.models import auth_browsers, auth_external, auth_rules

_LABELS: Final = r"(?:(?:\*\.)?(?:[A-Za-z0-9-]+\.)*[A-Za-z0-9-]+|\*)(?::[0-9]{1,5})?"
_ORIGIN: Final = re.compile(rf"\*|https?://{_LABELS}")
_HOST: Final = re.compile(r"(?:\*\.)?(?:[A-Za-z0-9-]+\.)*[A-Za-z0-9-]+(?::[0-9]{1,5})?")
_DAY: Final = 86_400


def cors(where: Origin, given: auth_browsers.Cors) -> Iterator[Diagnostic]:
    """What is wrong with `cors`."""
    yield from _origins(where.at("allowOrigins"), given.allow_origins or (), _ORIGIN, "https://app.example")
    lists = (
        ("allowMethods", given.allow_methods),
        ("allowHeaders", given.allow_headers),
        ("exposeHeaders", given.expose_headers),
    )
    for name, values in lists:
        if values is not None and "*" in values and len(values) > 1:
            yield error("DRG1108", f"`*` in {name} stands alone", where.at(name))
    if given.max_age is not None and not 1 <= given.max_age <= _DAY:
        yield error("DRG1104", "`maxAge` is out of range", where.at("maxAge"), label="expected 1s to 24h")
    if given.allow_credentials and any(_every(one) for one in given.allow_origins or ()):
        message = "every page of the world could act for whoever is logged in"
        yield error("DRG1108", message, where.at("allowCredentials"), help="name the origins")


def csrf(where: Origin, given: auth_browsers.Csrf) -> Iterator[Diagnostic]:
    """What is wrong with `csrf`."""
    yield from _origins(where.at("additionalOrigins"), given.additional_origins or (), _HOST, "app.example")


def external(where: Origin, given: auth_external.External) -> Iterator[Diagnostic]:
    """What is wrong with `external`."""
    if given.disabled:
        return
    if given.backend_ref is None:
        yield error("DRG1102", "`backendRef` is missing", where, label="the service goes here")
    if not 0.001 <= given.timeout <= 60:
        yield error("DRG1104", "`timeout` is out of range", where.at("timeout"), label="expected 1ms to 60s")
    foreign = {"context": bool(given.context)}
    if given.protocol == "GRPC":
        foreign = {
            "pathPrefix": given.path_prefix is not None,
            "backendHeaders": bool(given.backend_headers),
            "clientHeaders": given.client_headers is not None,
            "successHeaders": bool(given.success_headers),
        }
    for name in (name for name, said in foreign.items() if said):
        yield error("DRG1108", f"`{name}` is not for protocol {given.protocol}", where.at(name))
    names = [one.name for one in given.context]
    for at in (at for at, name in enumerate(names) if name in names[:at]):
        yield error("DRG1108", f"`{names[at]}` is listed twice", where.at("context", at, "name"))
    for at, one in enumerate(given.add_headers):
        if one.name.lower() == "host":
            yield error("DRG1108", "the header `host` cannot be changed", where.at("addHeaders", at, "name"))


def claims(where: Origin, given: Sequence[auth_rules.Claim]) -> Iterator[Diagnostic]:
    """What is wrong with the names of claims: no step of a path may be empty, Envoy knows none."""
    for at, one in enumerate(given):
        if not all(one.name.split(".")):
            yield error("DRG1103", f"`{one.name}` is no path of a claim", where.at("claims", at, "name"))


def told(where: Origin, header: str) -> Iterator[Diagnostic]:
    """What is wrong with a header in which claims are told: in some of ours filters tell one another who
    calls, and a claim must not say that."""
    if header.lower().startswith("x-dragoman-"):
        yield error("DRG1108", f"the header `{header}` is for Dragoman's own use", where)


def rule(where: Origin, given: auth_rules.Rule) -> Iterator[Diagnostic]:
    """What is wrong with a rule's `claims`, `principals` and `userAgents`."""
    yield from claims(where, given.claims)
    for at, one in enumerate(given.principals):
        if (one.exact is None) == (one.prefix is None):
            message = "exactly one of `exact` and `prefix` says who it is"
            yield error("DRG1108", message, where.at("principals", at))
    for at, pattern in enumerate(given.user_agents):
        if flaw := matching.flaw_of(pattern):
            yield matching.bad(pattern, flaw, where.at("userAgents", at))


def _every(one: auth_browsers.OriginMatch) -> bool:
    return one.type == "Exact" and one.value in ("*", "https://*", "http://*")


def _origins(
    where: Origin,
    given: Sequence[auth_browsers.OriginMatch | auth_browsers.HostMatch],
    form: re.Pattern[str],
    example: str,
) -> Iterator[Diagnostic]:
    for at, one in enumerate(given):
        here = where.at(at, "value")
        if one.type == "RegularExpression":
            if flaw := matching.flaw_of(one.value):
                yield matching.bad(one.value, flaw, here)
        elif not form.fullmatch(one.value):
            yield error("DRG1103", f"`{one.value}` is not understood", here, label=f"expected {example}")
        elif "*" in one.value and (flaw := matching.flaw_of(origins.expression(one.value))):
            label = f"as a regular expression {flaw}"
            yield error("DRG1103", "the origin is too long", here, label=label)
