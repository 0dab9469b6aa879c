"""Bodies with values from the request (`ir.Body`) in Envoy's words: for direct responses and overrides."""

from __future__ import annotations

import json
from typing import Any

from dragoman.ir import model as ir
from dragoman.proto.envoy.config.core import v3 as core


def write(target: core.SubstitutionFormatString, body: ir.Body) -> None:
    """Writes the body's format. An empty text stays out: Envoy wants a format that says something."""
    if body.json:
        write_json(target, json.loads(body.text))
    else:
        target.text_format_source.inline_string = body.text
    target.content_type = body.content_type


def write_json(target: core.SubstitutionFormatString, value: dict[str, Any]) -> None:
    """Writes a JSON format. An empty object is one too."""
    target.json_format.SetInParent()
    target.json_format.update(value)


def pairs(found: ir.Pairs) -> list[core.HeaderValueOption]:
    """Headers that are set, whatever was there."""
    return [option(name, value, overwrite=True) for name, value in found]


def option(name: str, value: str, *, overwrite: bool) -> core.HeaderValueOption:
    """One header. A value that comes out empty changes nothing."""
    made = core.HeaderValueOption()
    made.header.key = name
    made.header.value = value
    if overwrite:
        made.append_action = core.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    return made
