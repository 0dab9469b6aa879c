"""What `translators.gateway.templates` lets through, the real Envoy takes: in every place, each operator."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from dragoman.translators.gateway import templates
from tests.envoy import policy_site
from tests.envoy.policy_site import policy, route

pytestmark = pytest.mark.envoy

ARGUMENTS = (
    *("%REQ(x-id)%", "%REQ(:path)%", "%REQ(:AUTHORITY?x-b)%", "%REQ(x_y):20%", "%RESP(x-a?:status)%"),
    *("%DYNAMIC_METADATA(a)%", "%DYNAMIC_METADATA(a.b:c-d:e_f):3%"),
    *("%START_TIME(%Y/%m/%dT%H:%M:%S %3f)%", "%START_TIME(%s%j%T)%", "%START_TIME(%Y)%-%%"),
)
PIECES = ("%", "%%", "REQ", "(", ")", "x-a", ":", "3", "PROTOCOL", "?", " ", "RESP", "%REQ(x)%", "0", "a:b")


def operators(rng: Random) -> list[str]:
    """Every operator, and what random pieces make that is let through."""
    made = [*(f"%{name}%" for name in sorted(templates.PLAIN)), *ARGUMENTS]
    while len(made) < 400:
        text = "".join(rng.choice(PIECES) for _ in range(rng.randint(1, 7))).strip()
        if text and not templates.flaw(text)[0] and "  " not in text:
            made.append(text)
    return made


def test_an_argument_of_each() -> None:
    assert not [each for each in ARGUMENTS if templates.flaw(each)[0]]
    assert {each.partition("(")[0].removeprefix("%") for each in ARGUMENTS} == set(templates.ARGUMENTS)


async def test_what_is_let_through_is_taken(envoy_binary: Path) -> None:
    texts = operators(Random(7))
    text = ""
    for number in range(0, len(texts), 32):
        part = texts[number : number + 32]
        header = ", ".join(f"{{name: x-{at}, value: '{one}'}}" for at, one in enumerate(part))
        request = ", ".join(
            f"{{name: x-{at}, value: '{one}'}}" for at, one in enumerate(part) if "RESP(" not in one
        )
        body = ", ".join(f"'{at}': '{one}'" for at, one in enumerate(part))
        name = f"r{number}"
        text += route(name) + policy(
            name,
            f"  requestHeaders: {{set: [{request}]}}\n"
            f"  responseHeaders: {{add: [{header}]}}\n"
            f"  queryParameters: {{set: [{request}]}}\n"
            "  responseOverride:\n    rules:\n"
            f"    - {{statuses: [500], body: {{json: {{{body}}}}}, headers: [{request}]}}\n"
            f"    - {{statuses: [501], body: {{text: '{' '.join(part)}'}}}}",
        )
        name = f"d{number}"
        text += route(name) + policy(
            name, f"  directResponse: {{body: {{json: {{{body}}}}}, headers: [{header}]}}"
        )
    async with policy_site.running(envoy_binary, text) as site:
        for number in range(0, len(texts), 32):
            assert (await site.ask(f"r{number}")).status == 200
            assert (await site.ask(f"r{number}", "/status/500")).status == 500
            assert (await site.ask(f"d{number}")).status == 200
