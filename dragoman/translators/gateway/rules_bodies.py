"""JSON bodies that policies write: how large and how deep, and what their texts hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from dragoman.diagnostics import Diagnostic, error
from dragoman.refs import Origin
from dragoman.translators.gateway import templates

_DEEP: Final = 16


def json_body(
    given: Mapping[str, Any], where: Origin, most: int, text: Callable[[str, Origin], Iterator[Diagnostic]]
) -> Iterator[Diagnostic]:
    """What is wrong with a body of at most `most` characters; `text` looks at each text in it."""
    try:
        size = len(json.dumps(given, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        yield error("DRG1103", "the body is no JSON", where, help="quote dates and the like")
        return
    if size > most:
        label = f"expected at most {most}"
        yield error("DRG1104", f"the body has {size} characters", where, label=label)
    for path, leaf in templates.texts(given):
        if len(path) > _DEEP:
            yield error("DRG1104", "the body is nested too deeply", where, label=f"at most {_DEEP} levels")
            return
        if isinstance(leaf, str):
            yield from text(leaf, where.at(*path))
