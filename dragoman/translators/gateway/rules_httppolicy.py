"""Rules of HTTPPolicy that span fields, and the texts that Envoy would refuse. Called by `decode`."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from typing import Final

import re2

from dragoman.diagnostics import Diagnostic, error
from dragoman.refs import Origin, Ref
from dragoman.translators.gateway import matching, rules_bodies, rules_policies, templates
from dragoman.translators.gateway.models import (
    httppolicy as model,
    httppolicy_headers as headers,
    httppolicy_responses as responses,
)

_FIXED: Final = frozenset(("host", "content-length", "transfer-encoding", "connection", "upgrade"))
"""Headers that say how a message is framed or where it goes."""
_FRAMING: Final = frozenset(("content-length", "transfer-encoding"))
_GROUP: Final = re.compile(r"\\(.?)", re.DOTALL)


def check(ref: Ref, spec: model.HttpPolicy) -> Iterator[Diagnostic]:
    """What is wrong with an HTTPPolicy."""
    yield from rules_policies.check(ref, spec)
    where = Origin(ref, ("spec",))
    if spec.request_headers is not None:
        yield from _changes(spec.request_headers, where.at("requestHeaders"), response=False)
    if spec.response_headers is not None:
        yield from _changes(spec.response_headers, where.at("responseHeaders"), response=True)
    if spec.query_parameters is not None:
        for part in ("set", "add"):
            given: Iterable[headers.Parameter] = getattr(spec.query_parameters, part) or ()
            for at, one in enumerate(given):
                here = where.at("queryParameters", part, at, "value")
                yield from _template(one.value, here, response=False)
    if spec.rewrite is not None:
        yield from _rewrite(spec.rewrite, where.at("rewrite"))
    if spec.response_override is not None:
        for at, rule in enumerate(spec.response_override.rules or ()):
            here = where.at("responseOverride", "rules", at)
            yield from _headers(rule.headers, here.at("headers"), override=True)
            yield from _body(rule.body, here.at("body"))
    if spec.direct_response is not None:
        here = where.at("directResponse")
        yield from _headers(spec.direct_response.headers or (), here.at("headers"))
        yield from _body(spec.direct_response.body, here.at("body"))
    if spec.maintenance is not None:
        yield from _body(spec.maintenance.body, where.at("maintenance", "body"))
    for section in ("compression", "decompression"):
        algorithms = getattr(getattr(spec, section), "algorithms", None) or ()
        if len(set(algorithms)) < len(algorithms):
            yield error("DRG1108", "an algorithm is listed twice", where.at(section, "algorithms"))


def _template(text: str, where: Origin, *, response: bool = True) -> Iterator[Diagnostic]:
    wrong, hint = templates.flaw(text, response)
    if wrong:
        yield error("DRG1110", "the value is not one that Envoy can fill in", where, label=wrong, help=hint)


def _changes(given: headers.HeaderChanges, where: Origin, *, response: bool) -> Iterator[Diagnostic]:
    for part in ("set", "add"):
        listed: Iterable[headers.Header] = getattr(given, part) or ()
        for at, one in enumerate(listed):
            yield from _name(one.name, where.at(part, at, "name"))
            yield from _template(one.value, where.at(part, at, "value"), response=response)
    for at, name in enumerate(given.remove or ()):
        yield from _name(name, where.at("remove", at))
    for at, pair in enumerate(given.rename or ()):
        yield from _name(pair.name, where.at("rename", at, "name"))
        yield from _name(pair.to, where.at("rename", at, "to"))
        if templates.ARGUMENTS["REQ"][0].fullmatch(pair.name) is None:
            message = f"header `{pair.name}` cannot be read by a format operator, so not be renamed"
            yield error("DRG1103", message, where.at("rename", at, "name"))


def _name(name: str, where: Origin) -> Iterator[Diagnostic]:
    if name.lower() in _FIXED:
        hint = "`rewrite.host` changes the host" if name.lower() == "host" else ""
        yield error("DRG1106", f"header `{name}` cannot be changed here", where, help=hint)


def _headers(
    given: Iterable[headers.Header], where: Origin, *, override: bool = False
) -> Iterator[Diagnostic]:
    for at, one in enumerate(given):
        if one.name.lower() in _FRAMING:
            message = f"header `{one.name}` is Envoy's to set"
            yield error("DRG1106", message, where.at(at, "name"))
        yield from _template(one.value, where.at(at, "value"))
        if override and "%RESP(" in one.value:
            label = "the headers of the response are dropped before this is filled in"
            hint = "a body may have them"
            yield error("DRG1110", "the value would be empty", where.at(at, "value"), label=label, help=hint)


def _body(given: responses.Body | None, where: Origin) -> Iterator[Diagnostic]:
    if given is None:
        return
    if (given.json is None) == (given.text is None):
        yield error("DRG1108", "a body is either `json` or `text`", where)
    if given.text is not None:
        yield from _template(given.text, where.at("text"))
    if given.json is not None:
        yield from rules_bodies.json_body(given.json, where.at("json"), responses.BODY, _template)
    if given.content_type is not None and "%" in given.content_type:
        yield error("DRG1103", "a content type holds no operators", where.at("contentType"))


def _rewrite(given: headers.Rewrite, where: Origin) -> Iterator[Diagnostic]:
    if given.path is not None:
        yield from _substitution(given.path, where.at("path"))
        anchored = given.path.regex.startswith("^")
        if anchored and not given.path.substitution.startswith(("/", "\\")):
            message = "the new path does not start with `/`"
            label = "expected `/` or a group first"
            yield error("DRG1103", message, where.at("path", "substitution"), label=label)
    host = given.host
    if host is None:
        return
    if sum(one is not None for one in (host.name, host.header, host.path)) != 1:
        yield error("DRG1108", "a host comes from one of `name`, `header` and `path`", where.at("host"))
    if host.path is not None:
        yield from _substitution(host.path, where.at("host", "path"))
    if host.header is not None and host.header.lower() == "host":
        yield error("DRG1106", "the host is what it is already", where.at("host", "header"))


def _substitution(given: headers.Substitution, where: Origin) -> Iterator[Diagnostic]:
    flaw = matching.flaw_of(given.regex)
    if flaw:
        yield matching.bad(given.regex, flaw, where.at("regex"))
        return
    text = given.substitution
    if not text.isascii() or not text.isprintable() or " " in text:
        label = "expected visible ASCII"
        yield error("DRG1103", "the substitution is malformed", where.at("substitution"), label=label)
    groups = _groups(given.regex)
    for found in _GROUP.finditer(text):
        what = found[1]
        if what == "\\" or (what.isdigit() and int(what) <= groups):
            continue
        if what.isdigit():
            label = f"the expression has {groups} groups" if groups != 1 else "the expression has 1 group"
        else:
            label = r"expected a group such as `\1`, or `\\`"
        message = f"`{found[0]}` stands for nothing"
        yield error("DRG1103", message, where.at("substitution"), label=label)


@functools.lru_cache(maxsize=1024)
def _groups(pattern: str) -> int:
    return int(re2.compile(pattern).groups)
