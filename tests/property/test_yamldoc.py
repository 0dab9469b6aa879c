"""Both ways through YAML agree: what the fast one answers at all, libyaml with Kubernetes' rules says too.

Documents are written by a small emitter of our own in many styles, sprinkled with scalars on which parsers
disagree, and then damaged: lines indented otherwise, cut, swapped, doubled. `UNDECIDED` is always right, so
the last test sees to it that ordinary documents do take the fast path.
"""

from __future__ import annotations

import json
import string
from typing import Any

from hypothesis import example, given, settings, strategies as st

from dragoman.sources import quickyaml, yamldoc, yamlnodes

TRICKY = """
    yes Yes YES no No NO on On ON off Off OFF y Y n N true True TRUE false False FALSE null Null NULL ~
    << 0 1 -1 +1 -0 00 01 007 08 010 0o17 0x1F 0X1f -0x1 +0x1F 0b11 0B1 1_000 1__0 _1 1_ 0_1
    123456789012345678901 1.0 1. .5 -.5 +.5 0.1 1.50 1e3 1E3 1e+3 1e-3 1.5e3 1e 1e+ 0e0 1.2.3 1.2.3.4
    10.0.0.0/8 ::1 1:30 1:30:00 12:30 .inf -.inf +.INF .nan .NaN NaN inf Inf INF infinity Infinity nan
    Nan infix nano 1e999 -1e999 0.1e-400 10s 500m 10Gi 1h30m 5M 3G 2T 1K 0s 00s 1d 10ms 1s: 1m#x 9h/x
    2001-01-01 2001-01-01T00:00:00Z 2001-1-1 - -- --- --a -a -1a . .. ... .a /a /a/b /a:b a:b a::b a: :a
    a:, = == @a `a %a a#b a# #a !a !!str !!int &a *a |a >a ?a ? {a a} [a a] a, ,a a,b a[b] a{b} "a a" 'a
    a' "a" 'a' "" '' a\\b \\ a\\ /v\\d+ ^a$ $a nul nulls truely yesterday nope only offs Nope Onto ystem
    true-ish no/way on.x off@ y.z
""".split()  # noqa: SIM905 (a list of words to read, not of quotes)
FOREIGN = [
    "é",
    "größer als",
    "ключ",
    "日本",
    "a\u00a0b",
    "a\u2028b",
    "a\u0085b",
    "\ufeff",
    "😀",
    "a\u00adb",
    "\u0661",
]

words = (
    st.sampled_from(TRICKY + FOREIGN)
    | st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9./:-]{0,8}", fullmatch=True)
    | st.text(string.printable, min_size=1, max_size=5)
)
plain = st.lists(words, min_size=1, max_size=3).map(" ".join)
texts = st.text(st.characters(codec="utf-8"), max_size=6) | plain
scalars = (
    plain
    | texts.map(lambda text: json.dumps(text, ensure_ascii=False))
    | texts.map(json.dumps)
    | texts.map(lambda text: f'"{text}"')
    | texts.map(lambda text: "'" + text.replace("'", "''") + "'")
    | st.integers().map(str)
    | st.floats().map(repr)
)
keys = (
    st.sampled_from(["a", "b", "name", "x-y", "a.b/c", "A1", '"q"', '"a b"', "'s'", "no", "null", "1", "on"])
    | words
)
flows = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(st.tuples(keys, inner), max_size=3).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        )
    ),
    max_leaves=6,
)
values = flows | st.builds("{} # {}".format, flows, plain) | st.just("")


def _mapping(entries: list[tuple[str, Any]], step: int) -> list[str]:
    lines: list[str] = []
    for key, value in entries:
        if isinstance(value, str):
            lines.append(f"{key}: {value}")
        else:
            lines += [f"{key}:", *(" " * step + line for line in value)]
    return lines


def _sequence(items: list[Any]) -> list[str]:
    lines: list[str] = []
    for item in items:
        first, *rest = [item] if isinstance(item, str) else item or ["{}"]
        lines += [f"- {first}", *("  " + line for line in rest)]
    return lines


def _blocks(keys: st.SearchStrategy[str], values: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.recursive(
        st.lists(st.tuples(keys, values), min_size=1, max_size=4).map(lambda entries: _mapping(entries, 2)),
        lambda inner: (
            st.builds(
                _mapping,
                st.lists(st.tuples(keys, values | inner), min_size=1, max_size=4),
                st.sampled_from([2, 2, 2, 4, 1, 0]),
            )
            | st.lists(values | inner, min_size=1, max_size=3).map(_sequence)
        ),
        max_leaves=8,
    )


tame_keys = st.sampled_from(["a", "b", "c", "name", "x-y", "a.b/c", '"q"', '"a b"'])
tame_values = st.sampled_from(
    ["a", "1", "true", "1.5", "10s", '"x: y"', "'#'", "{a: b}", "[a, 1]", "a b", ""]
)
tame = _blocks(tame_keys, tame_values)
wild = _blocks(keys, values)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A document, perhaps damaged."""
    lines = draw(tame | wild)
    for _ in range(draw(st.sampled_from([0, 1, 1, 2]))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 6)):
            case 0:
                lines[at] = " " * draw(st.integers(1, 3)) + lines[at]
            case 1:
                lines[at] = lines[at][draw(st.integers(1, 3)) :]
            case 2:
                lines[at] = lines[at][: -draw(st.integers(1, 3))]
            case 3:
                lines.insert(at, lines[draw(st.integers(0, len(lines) - 1))])
            case 4:
                lines.insert(
                    at,
                    draw(st.sampled_from(["", "  ", "# c", "   # c", "\t", "-", "- -", "a", "...", "? a"])),
                )
            case 5:
                lines.insert(at, lines.pop(draw(st.integers(0, len(lines) - 1))))
            case _:
                lines[at] += draw(
                    st.sampled_from([" ", "  # c", "#", " |", " >", ":", " - a", ",", "]", "\t", '"', "\r"])
                )
    return "\n".join(lines) + draw(st.sampled_from(["", "\n", "\n\n"]))


def _slow(text: str) -> Any:
    root = yamlnodes.compose(text)
    return None if root is None else yamlnodes.convert(root, len(text))


def _typed(value: Any) -> Any:
    """Told apart as JSON tells them: True from 1, 1 from 1.0, and keys in their order."""
    match value:
        case dict():
            return [(key, _typed(item)) for key, item in value.items()]
        case list():
            return ["list", *map(_typed, value)]
        case _:
            return type(value).__name__, repr(value)


def _agree(text: str) -> None:
    quick = quickyaml.load(text)
    if quick is quickyaml.UNDECIDED:
        return
    assert _typed(quick) == _typed(_slow(text))


@settings(max_examples=500, deadline=None)
@given(documents())
@example("a: b\n c: d\n")
@example("a:\n- b\n - c\n")
@example("a:\n    b: 1\n  c: 2\n")
@example("a: 1\na: 2\n")
@example("a: {b: 1, b: 2}\n")
@example("- a\n  b: c\n")
def test_fast_path_agrees_on_documents(text: str) -> None:
    _agree(text)


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(
        ["a: {}", "a: {} # c", "- {}", "a: [{}]", "a: {{b: {}}}", "{}: a", "a: [x, {}]", "a:\n- {}\n- b"]
    ),
    scalars,
)
def test_fast_path_agrees_on_scalars(form: str, scalar: str) -> None:
    _agree(form.format(scalar))


def test_fast_path_agrees_on_every_tricky_word() -> None:
    for word in TRICKY + FOREIGN:
        for form in (
            "a: {}",
            "- {}",
            "a: [{}]",
            "a: {{b: {}}}",
            "{}: a",
            'a: "{}"',
            "a: '{}'",
            "a: x {}",
            "a: {} x",
        ):
            _agree(form.format(word))


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.text(max_size=8)
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
        max_leaves=12,
    )
)
def test_json_is_read_as_json(value: Any) -> None:
    for indent in (None, 2):
        text = json.dumps({"value": value}, indent=indent)
        assert _typed(yamldoc.parse(text)) == _typed({"value": value})


def test_ordinary_documents_take_the_fast_path() -> None:
    text = """\
# A route.
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: shop
  namespace: web
  annotations: {"dragoman.dev/priority": "10"}   # text
spec:
  parentRefs:
    - {name: edge, sectionName: https}
  hostnames: ["shop.example.com", '*.shop.example.com']
  rules:
  - matches:
    - path: {type: PathPrefix, value: /api/v1}
      headers:
      - name: x-env
        value: canary run
    timeouts: {request: 10s, backendRequest: 500ms}
    backendRefs:
    - name: checkout
      port: 8080
      weight: 90

"""
    assert quickyaml.load(text) == _slow(text)


markers = st.sampled_from(
    ["---", "--- ", "---a", "----", "--- # c", "...", "... ", "a: 1", "", "# c", " ---", "%YAML 1.1"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(markers, max_size=8), st.sampled_from(["", "\n"]))
def test_documents_part_alike_on_both_ways(lines: list[str], end: str) -> None:
    text = "\n".join(lines) + end
    assert yamldoc.split(text) == yamldoc.split_any(text)


def test_a_line_is_not_taken_for_another_that_begins_alike() -> None:
    for text in ("a:\n", "a: b\n", "a:: b\n", "a: : b\n", "- a: b\n", "- a:: b\n", "a: b: c\n", "a: yes\n"):
        _agree(text)
