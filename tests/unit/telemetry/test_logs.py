"""Log lines: their two forms, and what never appears in them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from dragoman.telemetry import logs


@pytest.fixture(autouse=True)
def root() -> Iterator[None]:
    """Puts the root logger back as it was."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


def written(format: str, *args: object, form: str = "text", **extra: object) -> str:
    out = io.StringIO()
    logs.configure("debug", "json" if form == "json" else "text", out)
    logging.getLogger("dragoman.xds.server").info(format, *args, extra=logs.fields(**extra))
    return out.getvalue()


def test_text_has_level_origin_message_and_fields() -> None:
    line = written("pushed %d", 3, group="*", why="a change")
    assert line.split(" ", 1)[1] == 'INFO    xds: pushed 3  group=*  why="a change"\n'


def test_json_is_one_object_per_line() -> None:
    record = json.loads(written("pushed %d", 3, form="json", group="*"))
    assert record.pop("time").endswith("+00:00")
    assert record == {"level": "info", "logger": "dragoman.xds.server", "message": "pushed 3", "group": "*"}


KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIGx\n-----END EC PRIVATE KEY-----"


@pytest.mark.parametrize(
    "text",
    [
        f"got {KEY} here",
        KEY.replace("-----END", ""),  # cut off
        "authorization: Bearer MHcCAQEEIGx",
        "{'authorization': 'Basic MHcCAQEEIGx'}",
        '{"password": "MHcCAQEEIGx"}',
        "x-api-key=MHcCAQEEIGx",
        "cookie: MHcCAQEEIGx; a=b",
        "said Bearer MHcCAQEEIGx",
    ],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_credentials_are_redacted(text: str, form: str) -> None:
    for line in (written("%s", text, form=form), written("x", form=form, detail=text)):
        assert "MHcCAQEEIGx" not in line
        assert "redacted" in line


def test_tracebacks_are_redacted() -> None:
    out = io.StringIO()
    logs.configure("info", "text", out)
    try:
        raise ValueError(KEY)
    except ValueError:
        logging.getLogger("dragoman").exception("broke")
    assert "MHcCAQEEIGx" not in out.getvalue()
    assert "ValueError" in out.getvalue()


@pytest.mark.parametrize(
    "text", ["Secret shop/tls replaced", "the token bucket is empty", "HTTPRoute shop/cart: Accepted"]
)
def test_plain_words_stay(text: str) -> None:
    assert logs.redact(text) == text


def test_no_message_passes_for_a_record_of_its_own() -> None:
    lines = written("refused: %s", "\x1b[2Jit\n12:00:00.000 ERROR   xds: forged\n").splitlines()
    assert lines[0].endswith("refused: [2Jit")
    assert lines[1] == "    12:00:00.000 ERROR   xds: forged"
