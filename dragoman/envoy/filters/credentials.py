"""What a request proves its client by: one header for each kind of lookup, and what was found.

Before the lookups: the API key from wherever the route takes it (`api_keys` reads it here, and finds its
shard by it), and whom a token or certificate is of. A credential that is there twice becomes one that nobody
has. Of a token that is looked up (`authz`) that is known later, so there is a filter of its own for it. After
them: what was found goes where `clients` reads it, and the headers in between go. No client can bring these
along (`identity`).
"""

from __future__ import annotations

import functools
import json
import re
from typing import Final

from dragoman.envoy import templates
from dragoman.envoy.filters import base, basic_auth, jwt_authn, mutations, tokens
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.extensions.filters.http.header_mutation import v3 as header_mutation
from dragoman.proto.envoy.extensions.filters.http.header_to_metadata import v3 as header_to_metadata

CLIENT: Final = "x-dragoman-client"
"""What was found: all there is to say of a client. Between the lookups and `clients`."""
KEY: Final = "x-dragoman-key"
SUBJECT: Final = "x-dragoman-subject"
SUBJECT_BY: Final = "x-dragoman-subject-by"
BETWEEN: Final = (CLIENT, KEY, SUBJECT, SUBJECT_BY)
"""Headers that only stand between filters."""

NOBODY: Final = "no-key-was-sent"
"""The key of requests without any, where that is allowed."""
NOBODYS: Final = "-"
"""The client that it belongs to: none that `clients` could read."""

FOUND_IN: Final = "envoy.filters.http.rbac"
FOUND_PREFIX: Final = "dragoman_consumer_"
FOUND: Final = f"{FOUND_PREFIX}shadow_effective_policy_id"
"""Where `consumers` leaves whom it found: namespace and key of dynamic metadata."""

_HELD: Final = "dragoman.credentials"
_AUTHORIZATION: Final = "authorization"
_BEARER: Final = r"^Bearer +(.*)$"


class Held:
    """`envoy.filters.http.header_to_metadata`, under a name of its own: what formats cannot take apart."""

    name = "dragoman.credentials.held"
    disabled = True

    def config(self) -> base.Config:
        return base.config(header_to_metadata.Config())

    def per_route(self, route: ir.Route) -> base.Config | None:
        keys = route.auth.keys if route.auth is not None else None
        if keys is None or not (keys.cookies or _AUTHORIZATION in keys.headers):
            return None
        return _held(keys)


class Credentials(mutations.Mutations):
    """`envoy.filters.http.header_mutation`, under a name of its own."""

    name = "dragoman.credentials"

    def per_route(self, route: ir.Route) -> base.Config | None:
        if route.auth is None or (route.auth.keys is None and not _at_once(route.auth)):
            return None
        return _credentials(route.auth.keys, _at_once(route.auth), route.auth.basic)


class LookedUp(mutations.Mutations):
    """`envoy.filters.http.header_mutation`, under a name of its own: whose a token is that was looked up."""

    name = "dragoman.credentials.looked_up"

    def per_route(self, route: ir.Route) -> base.Config | None:
        asked = route.auth.introspection if route.auth is not None else None
        return _looked_up(asked.consumers) if asked is not None and asked.consumers is not None else None


class Taken(mutations.Mutations):
    """`envoy.filters.http.header_mutation`, under a name of its own."""

    name = "dragoman.credentials.taken"

    def per_route(self, route: ir.Route) -> base.Config | None:
        if route.auth is None or not known_by(route.auth):
            return None
        return _taken(route.auth.keys is not None and route.auth.keys.optional)


HELD = Held()
FILTER = Credentials()
LOOKED_UP = LookedUp()
TAKEN = Taken()


def known_by(auth: ir.Auth) -> tuple[ir.Lookup, ...]:
    """By what Consumers are recognised besides keys; of several the last that is there."""
    later = auth.introspection.consumers if auth.introspection is not None else None
    return _at_once(auth) if later is None else (*_at_once(auth), later)


def _at_once(auth: ir.Auth) -> tuple[ir.Lookup, ...]:
    """Those of them that nobody has to be asked about."""
    certificate = auth.certificate.consumers if auth.certificate is not None else None
    found = (certificate, auth.token_of, auth.basic.consumers if auth.basic is not None else None)
    return tuple(one for one in found if one is not None)


def by(namespace: str, proof: ir.Proof) -> str:
    """What stands in `SUBJECT_BY`. Only the last part may have spaces in it."""
    return " ".join(part for part in (proof.kind, namespace, proof.by, proof.issuer) if part)


@functools.lru_cache(maxsize=1024)
def _held(keys: ir.ApiKeys) -> base.Config:
    message = header_to_metadata.Config()
    if _AUTHORIZATION in keys.headers:
        rule = message.request_rules.add(header=_AUTHORIZATION).on_header_present
        rule.metadata_namespace, rule.key = _HELD, f"header {_AUTHORIZATION}"
        rule.regex_value_rewrite.pattern.regex = _BEARER
        rule.regex_value_rewrite.substitution = r"\1"
    for cookie in keys.cookies:
        rule = message.request_rules.add(cookie=cookie).on_header_present
        rule.metadata_namespace, rule.key = _HELD, f"cookie {cookie}"
    return base.config(message)


@functools.lru_cache(maxsize=4096)
def _credentials(
    keys: ir.ApiKeys | None, lookups: tuple[ir.Lookup, ...], basic: ir.Basic | None
) -> base.Config:
    message = header_mutation.HeaderMutationPerRoute()
    target = message.mutations.request_mutations
    for value in reversed(_sources(keys) if keys is not None else []):
        # An empty value changes nothing: the first source that has a key has the last word.
        target.add().append.CopyFrom(templates.option(KEY, value, overwrite=True))
    for one in lookups:
        _write_subject(message, *_subject(one, basic))
    return base.config(message)


@functools.lru_cache(maxsize=1024)
def _looked_up(wanted: ir.Lookup) -> base.Config:
    """Not by the claims of another token: where none was looked up, a checked one's may stand in its
    place."""
    message = header_mutation.HeaderMutationPerRoute()
    there, *said = _subject(wanted, None)
    space, _ = tokens.LOOKED_UP
    _write_subject(message, f"{_text(space)} in metadata.filter_metadata && {there}", *said)
    return base.config(message)


def _write_subject(message: header_mutation.HeaderMutationPerRoute, there: str, what: str, *how: str) -> None:
    """Takes what `_subject` gives. An empty value changes nothing."""
    for header, values in ((SUBJECT, (what,)), (SUBJECT_BY, how)):
        # Envoy's CEL joins no texts.
        formats = "".join(f'%CEL({there} ? {value} : "")%' for value in values)
        target = message.mutations.request_mutations.add().append
        target.CopyFrom(templates.option(header, formats, overwrite=True))


def _sources(keys: ir.ApiKeys) -> list[str]:
    """Formats, in the order in which they count. CEL joins a header's values with commas."""
    found = []
    for header in keys.headers:
        if header == _AUTHORIZATION:
            found.append(f"%DYNAMIC_METADATA({_HELD}:header {header})%")
        else:
            name = _text(header)
            found.append(f'%CEL({name} in request.headers ? request.headers[{name}] : "")%')
    found += [f"{_twice('request.query', param, '&')}%QUERY_PARAM({param})%" for param in keys.params]
    for cookie in keys.cookies:
        doubled = _twice('request.headers["cookie"]', cookie, "[;,] *", '"cookie" in request.headers && ')
        found.append(f"{doubled}%DYNAMIC_METADATA({_HELD}:cookie {cookie})%")
    return [*found, NOBODY] if keys.optional else found


def _twice(where: str, name: str, between: str, given: str = "") -> str:
    """What goes before a value that is there twice, and makes it nobody's."""
    one = f"{re.escape(name)}="
    pattern = _text(f"(^|{between}){one}(.*({between})){one}")
    return f'%CEL({given}{where}.matches({pattern}) ? "," : "")%'


def _subject(wanted: ir.Lookup, basic: ir.Basic | None) -> tuple[str, ...]:
    """CEL: whether it is there, what it is, and the parts of how it is known."""
    proof = wanted.proof
    prefix = by(wanted.namespace, proof)
    if proof.kind == "certificate":
        value = f"connection.{proof.by.lower()}_san_peer_certificate"
        return f'{value} != ""', value, _text(prefix)
    if basic is not None and proof.kind == "user":
        found, there = _metadata(*basic_auth.found(basic))
        return there, found, _text(prefix)
    found, there = _metadata(jwt_authn.FILTER.name, jwt_authn.PAYLOAD, *proof.by.split("."))
    issuer, _ = _metadata(jwt_authn.FILTER.name, jwt_authn.PAYLOAD, "iss")
    return there, found, _text(f"{prefix} "), issuer


def _metadata(namespace: str, *path: str) -> tuple[str, str]:
    """A text in metadata, and whether there is one that says something."""
    found = "metadata.filter_metadata"
    there = []
    for step in (namespace, *path):
        there.append(f"{_text(step)} in {found}")
        found = f"{found}[{_text(step)}]"
    return found, " && ".join((*there, f"type({found}) == string", f'{found} != ""'))


def _text(value: str) -> str:
    """A text in CEL. Names that come here have neither `%` nor parentheses."""
    return json.dumps(value)


@functools.lru_cache(maxsize=2)
def _taken(optional: bool) -> base.Config:
    """A key goes before what else there is."""
    message = header_mutation.HeaderMutationPerRoute()
    target = message.mutations.request_mutations
    append = target.add().append
    append.header.key = CLIENT
    if optional:
        space, key = _text(FOUND_IN), _text(FOUND)
        found = f"metadata.filter_metadata[{space}]"
        free = f"request.headers[{_text(CLIENT)}] == {_text(NOBODYS)}"
        there = f"{free} && {space} in metadata.filter_metadata && {key} in {found}"
        append.header.value = f'%CEL({there} ? {found}[{key}] : "")%'
        append.append_action = core.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    else:
        append.header.value = f"%DYNAMIC_METADATA({FOUND_IN}:{FOUND})%"
        append.append_action = core.HeaderValueOption.ADD_IF_ABSENT
    for name in (SUBJECT, SUBJECT_BY):
        target.add().remove = name
    return base.config(message)
