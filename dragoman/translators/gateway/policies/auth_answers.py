"""An AuthPolicy's `answers`: what is wrong with one, and what routes get of them. Called by `rules_auth` and
`auth`.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Iterator
from typing import Final

from dragoman.diagnostics import Diagnostic, error
from dragoman.ir import answers
from dragoman.refs import Origin
from dragoman.translators.gateway import rules_bodies
from dragoman.translators.gateway.models import auth_answers as model, authpolicy, policy
from dragoman.translators.gateway.policies import merge

_FRAMING: Final = ("content-length", "transfer-encoding", "connection", "upgrade", "content-type")


def findings(where: Origin, given: model.Answers) -> Iterator[Diagnostic]:
    """What is wrong with `answers`."""
    for name in answers.ERRORS:
        one: model.Answer | None = getattr(given, name)
        if one is not None:
            yield from _answer(where.at(_camel(name)), one)


@functools.lru_cache(maxsize=1024)
def made(merged: merge.Merged[authpolicy.AuthPolicy]) -> tuple[answers.Answer, ...]:
    """The answers of merged policies, in the order of `answers.ERRORS`."""
    given = policy.on(merged.spec.answers)
    if given is None:
        return ()
    listed = ((name, getattr(given, name)) for name in answers.ERRORS)
    return tuple(_made(name, one) for name, one in listed if one is not None)


def _made(name: str, given: model.Answer) -> answers.Answer:
    body = given.text
    if given.json is not None:
        body = json.dumps(given.json, sort_keys=True)
    kind = "application/json" if given.json is not None else "text/plain"
    return answers.Answer(
        name,
        given.status or 0,
        body,
        given.json is not None,
        given.content_type or kind if body is not None else "",
        tuple((one.name.lower(), one.value) for one in given.headers),
    )


def _answer(where: Origin, given: model.Answer) -> Iterator[Diagnostic]:
    if given.json is not None and given.text is not None:
        yield error("DRG1108", "a body is either `json` or `text`", where)
    if given.text is not None:
        yield from _text(given.text, where.at("text"), answers.EVERYWHERE)
    if given.json is not None:
        within = functools.partial(_text, known=answers.PLACEHOLDERS)
        yield from rules_bodies.json_body(given.json, where.at("json"), model.LONGEST, within)
    if given.content_type is not None and "%" in given.content_type:
        yield error("DRG1103", "a content type holds no placeholders", where.at("contentType"))
    for at, one in enumerate(given.headers):
        if one.name.lower() in _FRAMING:
            hint = "say `contentType`" if one.name.lower() == "content-type" else ""
            message = f"header `{one.name}` cannot be set here"
            yield error("DRG1106", message, where.at("headers", at, "name"), help=hint)
        yield from _text(one.value, where.at("headers", at, "value"), answers.EVERYWHERE)


def _text(text: str, where: Origin, known: tuple[str, ...]) -> Iterator[Diagnostic]:
    """The first thing that is wrong with the placeholders of a text."""
    for found in answers.TOKEN.finditer(text):
        name, literal = found.groups()
        if literal or name in known:
            continue
        message, hint = "the text is not one that can be filled in", ""
        if name is None:
            label, hint = "a single `%` starts no placeholder", "write `%%` for a `%`"
        elif name in answers.PLACEHOLDERS:
            label, hint = f"`%{name}%` is for `json` alone", "what clients say is not safe in other texts"
        else:
            label = f"`%{name}%` is no placeholder"
            near = difflib.get_close_matches(name, known, 1, 0.6)
            hint = f"did you mean `%{near[0]}%`?" if near else f"there are {', '.join(known)}"
        yield error("DRG1110", message, where, label=label, help=hint)
        return


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))
