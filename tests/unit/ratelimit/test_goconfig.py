"""envoyproxy/ratelimit's files: every feature, every error with its place, and what a reload keeps."""

from __future__ import annotations

import asyncio
import textwrap
from pathlib import Path

import pytest

from dragoman.diagnostics import Severity
from dragoman.ratelimit import configuration, goconfig, rules, server
from dragoman.ratelimit.algorithms import (
    FixedWindow,
    LeakyBucket,
    SlidingCounter,
    SlidingLog,
    TokenBucket,
)
from tests.harness import net

SECOND = 1_000_000


def table(text: str) -> rules.Table:
    read = goconfig.read("a.yaml", textwrap.dedent(text))
    assert read.diagnostics == ()
    return rules.Table(read.rules)


def hit(found: rules.Table, *entries: tuple[str, str], domain: str = "shop") -> rules.Hit | None:
    hits = found.find(domain, entries)
    assert len(hits) <= 1
    return hits[0] if hits else None


def per_second(found: rules.Table, *entries: tuple[str, str]) -> int | None:
    """`requests_per_unit` of the limit that a descriptor hits."""
    one = hit(found, *entries)
    if one is None:
        return None
    assert one.limit.algorithm is not None
    return one.limit.algorithm.limit


TREE = table(
    """
    domain: shop
    descriptors:
    - key: path
      value: /login
      rate_limit: {unit: second, requests_per_unit: 1}
      descriptors:
      - key: user
        rate_limit: {unit: second, requests_per_unit: 2}
      - key: user
        value: root
        rate_limit: {unit: second, requests_per_unit: 3}
      - key: user
        value: friend
    - key: path
      value: /a*
      rate_limit: {unit: second, requests_per_unit: 4}
    - key: path
      value: /ab*
      rate_limit: {unit: second, requests_per_unit: 5}
    - key: path
      value: "*/x/*.js"
      rate_limit: {unit: second, requests_per_unit: 6}
    - key: path
      rate_limit: {unit: second, requests_per_unit: 7}
    - key: only-below
      descriptors:
      - key: user
        rate_limit: {unit: second, requests_per_unit: 8}
    """
)


@pytest.mark.parametrize(
    ("entries", "limit"),
    [
        ([("path", "/login")], 1),
        ([("path", "/login"), ("user", "bob")], 2),
        ([("path", "/login"), ("user", "root")], 3),
        ([("path", "/login"), ("user", "friend")], None),  # known, and not limited
        ([("path", "/login"), ("user", "bob"), ("more", "1")], None),  # deeper than any rule
        ([("path", "/a")], 4),  # a star may stand for nothing
        ([("path", "/abc")], 4),  # the first pattern in the file counts
        ([("path", "/q/x/y.js")], 6),
        ([("path", "/q/x/y.jsx")], 7),
        ([("path", "/q\n/x/.js")], 6),
        ([("path", "")], 7),
        ([("path", "/a"), ("user", "bob")], None),  # the pattern has nothing below; nothing is tried twice
        ([("only-below", "z")], None),
        ([("only-below", "z"), ("user", "bob")], 8),
        ([("user", "bob")], None),
        ([], None),
    ],
)
def test_the_limit_of_a_descriptor(entries: list[tuple[str, str]], limit: int | None) -> None:
    assert per_second(TREE, *entries) == limit


def test_a_domain_that_is_not_known_has_no_limits() -> None:
    assert hit(TREE, ("path", "/login"), domain="other") is None
    assert "other" not in TREE


@pytest.mark.parametrize(
    ("unit", "seconds"),
    [
        ("second", 1),
        ("Minute", 60),
        ("HOUR", 3600),
        ("day", 86_400),
        ("week", 604_800),
        ("month", 2_592_000),
        ("year", 31_536_000),
    ],
)
def test_units(unit: str, seconds: int) -> None:
    found = table(
        f"domain: shop\ndescriptors: [{{key: a, rate_limit: {{unit: {unit}, requests_per_unit: 5}}}}]"
    )
    one = hit(found, ("a", "1"))
    assert one is not None
    # The Go service counts fixed windows, and what it denies as well.
    assert one.limit.algorithm == FixedWindow(5, seconds * SECOND, count_denied=True)


def test_all_that_a_limit_may_say() -> None:
    found = table(
        """
        domain: shop
        descriptors:
        - key: banned
          rate_limit: {unit: day}
        - key: free
          rate_limit: {unlimited: true}
        - key: shadowed
          shadow_mode: true
          rate_limit: {unit: day, requests_per_unit: 1}
        - key: quota
          quota_mode: true
          metadata: {service: {name: a}}
          rate_limit: {unit: day, requests_per_unit: 1}
        - key: named
          rate_limit:
            name: small
            replaces: [{name: large}, {name: larger}]
            unit: day
            unit_multiplier: 5
            requests_per_unit: 4294967295
        - {key: 10, value: 1.50, rate_limit: {unit: day, requests_per_unit: 1}}
        """
    )
    names = ("banned", "free", "shadowed", "quota", "named")
    limits = {name: one.limit for name in names if (one := hit(found, (name, "1"))) is not None}
    assert limits["banned"].algorithm == FixedWindow(0, 86_400 * SECOND, True)
    assert limits["free"].algorithm is None
    assert limits["shadowed"].shadow
    assert limits["quota"].quota
    assert limits["quota"].metadata == {"service": {"name": "a"}}
    assert limits["named"].name == "small"
    assert limits["named"].replaces == {"large", "larger"}
    assert limits["named"].algorithm == FixedWindow(4_294_967_295, 5 * 86_400 * SECOND, True)
    # Numbers that stand for texts are the text that was written.
    assert hit(found, ("10", "1.50")) is not None
    assert hit(found, ("10", "1.5")) is None


def test_what_counts_together_and_what_metrics_call_it() -> None:
    found = table(
        """
        domain: shop
        descriptors:
        - {key: plain, value: a*, rate_limit: {unit: day, requests_per_unit: 1}}
        - {key: shared, value: a*z, share_threshold: true, rate_limit: {unit: day, requests_per_unit: 1}}
        - {key: valued, value: a*, value_to_metric: true, rate_limit: {unit: day, requests_per_unit: 1}}
        - key: both
          value: a*
          share_threshold: true
          value_to_metric: true
          rate_limit: {unit: day, requests_per_unit: 1}
        - key: route
          value_to_metric: true
          descriptors:
          - {key: method, rate_limit: {unit: day, requests_per_unit: 1}}
          - {key: status, value: "200", detailed_metric: true, rate_limit: {unit: day, requests_per_unit: 1}}
        - key: top
          descriptors:
          - {key: below, detailed_metric: true, rate_limit: {unit: day, requests_per_unit: 1}}
          - {key: beside, rate_limit: {unit: day, requests_per_unit: 1}}
        """
    )

    def both(*entries: tuple[str, str]) -> tuple[tuple[tuple[str, str], ...], str]:
        one = hit(found, *entries)
        assert one is not None
        return one.counted, one.metric

    assert both(("plain", "abc")) == ((("plain", "abc"),), "shop.plain_a*")
    assert both(("shared", "a1z")) == ((("shared", "a*z"),), "shop.shared_a*z")
    assert both(("valued", "abc")) == ((("valued", "abc"),), "shop.valued_abc")
    assert both(("both", "abc")) == ((("both", "a*"),), "shop.both_a*")
    assert both(("route", "/x"), ("method", "GET"))[1] == "shop.route_/x.method"
    assert both(("route", "/x"), ("status", "200"))[1] == "shop.route_/x.status_200"
    assert both(("top", "1"), ("below", "2"))[1] == "shop.top_1.below_2"
    assert both(("top", "1"), ("beside", "2"))[1] == "shop.top.beside"


def test_algorithms_beyond_the_go_service() -> None:
    found = table(
        """
        domain: shop
        descriptors:
        - {key: f, rate_limit: {unit: second, requests_per_unit: 9, algorithm: fixed_window}}
        - {key: c, rate_limit: {unit: second, requests_per_unit: 9, algorithm: sliding_counter}}
        - {key: l, rate_limit: {unit: second, requests_per_unit: 9, algorithm: sliding_log, cost: 3}}
        - key: t
          rate_limit:
            {unit: second, requests_per_unit: 9, algorithm: token_bucket, burst: 20, count_denied: true}
        - key: n
          rate_limit: {unit: second, requests_per_unit: 9, algorithm: leaky_bucket, burst: 5, nodelay: true}
        - key: d
          rate_limit:
            {unit: second, requests_per_unit: 9, algorithm: leaky_bucket, burst: 5, delay: 2, on_error: local}
        """
    )
    limits = {name: one.limit for name in "fcltnd" if (one := hit(found, (name, "1"))) is not None}
    assert {name: limit.algorithm for name, limit in limits.items()} == {
        "f": FixedWindow(9, SECOND),
        "c": SlidingCounter(9, SECOND),
        "l": SlidingLog(9, SECOND),
        "t": TokenBucket(9, SECOND, 20, True),
        "n": LeakyBucket(9, SECOND, 5, nodelay=True),
        "d": LeakyBucket(9, SECOND, 5, 2),
    }
    assert limits["l"].cost == 3
    assert limits["d"].on_error is rules.OnError.LOCAL


ERRORS = [
    ("domain: shop\ndescriptors: [", "DRG1001", 2),
    ("- a\n", "DRG1103", 1),
    ("", "DRG1103", 0),
    ("descriptors: []\n", "DRG1102", 1),
    ("domain: ''\n", "DRG1102", 1),
    ("domain: {a: b}\n", "DRG1103", 1),
    ("domain: shop\ndomain: other\n", "DRG1007", 2),
    ("domain: shop\ndescriptor: []\n", "DRG1101", 2),
    ("domain: shop\ndescriptors:\n- value: a\n", "DRG1102", 3),
    ("domain: shop\ndescriptors:\n- {key: ''}\n", "DRG1102", 3),
    ("domain: shop\ndescriptors:\n- {key: a, ratelimit: {}}\n", "DRG1101", 3),
    ("domain: shop\ndescriptors:\n- a\n- {key: b}\n", "DRG1103", 3),
    ("domain: shop\ndescriptors: {key: a}\n", "DRG1103", 2),
    ("domain: shop\ndescriptors:\n- {key: a}\n- {key: a}\n", "DRG1901", 4),
    ("domain: shop\ndescriptors:\n- {key: a, value: b}\n- {key: a, value: b}\n", "DRG1901", 4),
    ("domain: shop\ndescriptors:\n- {key: a, value: b, share_threshold: true}\n", "DRG1108", 3),
    ("domain: shop\ndescriptors:\n- {key: a, shadow_mode: maybe}\n", "DRG1103", 3),
    ("domain: shop\ndescriptors:\n- {key: a, metadata: 5}\n", "DRG1103", 3),
    ("domain: shop\ndescriptors:\n- {key: a, rate_limit: 5}\n", "DRG1103", 3),
    ("domain: shop\ndescriptors:\n- {? [a] : b}\n", "DRG1001", 3),
]

LIMITS = [
    ("unit: fortnight", "DRG1106"),
    ("requests_per_unit: 5", "DRG1102"),
    ("unit: unknown", "DRG1106"),
    ("unit: day, requests_per_unit: -1", "DRG1104"),
    ("unit: day, requests_per_unit: 4294967296", "DRG1104"),
    ("unit: day, requests_per_unit: many", "DRG1103"),
    ("unit: day, requests_per_unit: 1.5", "DRG1103"),
    ("unit: day, unit_multiplier: 0", "DRG1104"),
    ("unlimited: true, unit: day", "DRG1108"),
    ("unit: day, replaces: [{name: ''}]", "DRG1102"),
    ("unit: day, replaces: [{}]", "DRG1102"),
    ("unit: day, replaces: [a]", "DRG1103"),
    ("unit: day, name: a, replaces: [{name: b, nam: a}]", "DRG1101"),
    ("unit: year, unit_multiplier: 101, requests_per_unit: 1", "DRG1104"),
    ("unit: year, unit_multiplier: 99, requests_per_unit: 4294967295, algorithm: token_bucket", "DRG1104"),
    ("unit: day, name: a, replaces: [{name: a}]", "DRG1108"),
    ("unit: day, algorithm: bucket", "DRG1106"),
    ("unit: day, algorithm: [1]", "DRG1106"),
    ("unit: day, burst: 5", "DRG1108"),
    ("unit: day, algorithm: token_bucket, delay: 5", "DRG1108"),
    ("unit: day, algorithm: token_bucket, burst: -5", "DRG1104"),
    ("unit: day, algorithm: token_bucket, burst: lots", "DRG1103"),
    ("unit: day, algorithm: leaky_bucket, nodelay: 1", "DRG1103"),
    ("unit: day, cost: 0", "DRG1104"),
    ("unit: day, on_error: panic", "DRG1106"),
    ("unit: day, on_error: [open]", "DRG1106"),
    ("unit: day, requests_per_unit: 100001, algorithm: sliding_log", "DRG1104"),
]


@pytest.mark.parametrize(("text", "code", "line"), ERRORS)
def test_what_is_wrong_with_a_file_and_where(text: str, code: str, line: int) -> None:
    read = goconfig.read("limits/a.yaml", text)
    assert not read.good
    found = [
        (each.code, each.span.file, each.span.line) for each in read.diagnostics if each.span is not None
    ]
    assert (code, "limits/a.yaml", line) in found
    assert len(read.diagnostics) == 1


@pytest.mark.parametrize(("text", "code"), LIMITS)
def test_what_is_wrong_with_a_limit(text: str, code: str) -> None:
    read = goconfig.read(
        "a.yaml", f"domain: shop\ndescriptors:\n- key: a\n  rate_limit: {{{text}}}\n- key: b\n"
    )
    assert [(each.code, each.span and each.span.line) for each in read.diagnostics] == [(code, 4)]
    assert read.diagnostics[0].span is not None
    assert "rate_limit" in read.diagnostics[0].span.text


def test_what_limits_do_without_redis_where_they_do_not_say_it() -> None:
    text = textwrap.dedent(
        """
        domain: shop
        descriptors:
        - {key: a, rate_limit: {unit: day, requests_per_unit: 1}}
        - {key: b, rate_limit: {unit: day, requests_per_unit: 1, on_error: local}}
        - {key: c, rate_limit: {unit: day, requests_per_unit: 1, on_error: }}
        """
    )
    for mode in (rules.OnError.OPEN, rules.OnError.FAIL):
        read = goconfig.read("a.yaml", text, on_error=mode)
        assert not read.diagnostics
        found = [limit.on_error for rule in read.rules for limit in rule.limits]
        assert found == [mode, rules.OnError.LOCAL, mode]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    read = goconfig.read(
        "a.yaml",
        "domain: ''\ndescriptors:\n- {key: a, rate_limit: {unit: x, requests_per_unit: -1, cots: 1}}\n- 5\n",
    )
    assert [each.code for each in read.diagnostics] == ["DRG1102", "DRG1101", "DRG1106", "DRG1104", "DRG1103"]


def test_a_key_in_the_wrong_place_is_a_warning_as_it_does_nothing_to_the_go_service() -> None:
    read = goconfig.read("a.yaml", "domain: shop\nunit: day\n")
    assert [(each.code, each.severity) for each in read.diagnostics] == [("DRG3001", Severity.WARNING)]
    assert read.good


GOOD = "domain: {}\ndescriptors: [{{key: a, rate_limit: {{unit: day, requests_per_unit: {}}}}}]\n"


def test_two_files_with_one_domain(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD.format("shop", 1))
    (tmp_path / "b.yaml").write_text("domain: shop\ndescriptors: [{key: b, rate_limit: {unit: day}}]\n")
    source = server.source([str(tmp_path)])
    alone, merged = configuration.Configuration(), configuration.Configuration(merge_domains=True)
    update = source.load()
    for each in (alone, merged):
        each.apply(update)
    assert [found.code for found in alone.diagnostics()] == ["DRG1902"]
    assert hit(alone.table(), ("b", "1")) is None
    assert merged.diagnostics() == []
    assert hit(merged.table(), ("a", "1")) is not None
    assert hit(merged.table(), ("b", "1")) is not None
    (tmp_path / "b.yaml").write_text(GOOD.format("shop", 2))
    source = server.source([str(tmp_path)])
    merged = configuration.Configuration(merge_domains=True)
    merged.apply(source.load())
    assert [found.code for found in merged.diagnostics()] == ["DRG1901"]
    assert per_second(merged.table(), ("a", "1")) == 1


async def test_a_reload_keeps_the_last_good_form(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(GOOD.format("shop", 1))
    second.write_text(GOOD.format("other", 1))
    service = server.Server(server.Settings())
    source = server.source([str(tmp_path)])
    assert service.load(source) == []
    following = asyncio.create_task(service.follow(source))

    async def taken(number: int) -> None:
        await net.until("the change is taken", lambda: service.metrics.loads["taken"] >= number)

    def numbers() -> list[int | None]:
        found = service.configuration.table()
        return [
            one.limit.algorithm.limit if one is not None and one.limit.algorithm is not None else None
            for one in (hit(found, ("a", "1"), domain=domain) for domain in ("shop", "other"))
        ]

    await asyncio.sleep(0.05)  # the watch is there
    first.write_text("domain: shop\ndescriptors: [{key: a, rate_limit: {unit: never}}]\n")
    await taken(2)
    assert numbers() == [1, 1]
    assert service.metrics.loads["refused"] == 1
    second.write_text(GOOD.format("other", 7))
    await taken(3)
    assert numbers() == [1, 7]
    first.write_text(GOOD.format("shop", 3))
    await taken(4)
    assert numbers() == [3, 7]
    assert service.configuration.diagnostics() == []
    second.unlink()
    await taken(5)
    assert numbers() == [3, None]
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
