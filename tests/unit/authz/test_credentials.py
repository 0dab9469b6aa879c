"""Where a request has its credential."""

from __future__ import annotations

import pytest

from dragoman.authz.credentials import Request, find
from dragoman.ir import model as ir

BEARER = ir.Places((("authorization", "Bearer "),))
ALL = ir.Places((("x-token", ""), ("authorization", "Bearer ")), ("access_token",), ("session",))


@pytest.mark.parametrize(
    ("headers", "path", "found"),
    [
        ({"authorization": "Bearer abc"}, "/", "abc"),
        ({"authorization": "bearer   abc "}, "/", "abc"),
        ({"authorization": "Basic abc"}, "/", ""),
        ({"authorization": "Bearer"}, "/", ""),
        ({"authorization": "Bearer "}, "/?access_token=q", "q"),
        ({}, "/?access_token=a%2Bb&access_token=second", "a+b"),
        ({}, "/?x=1&access%5Ftoken=q#access_token=no", "q"),
        ({}, "/access_token=q", ""),
        ({"cookie": 'a=1; session="abc"; session=second'}, "/", "abc"),
        ({"cookie": "xsession=abc"}, "/", ""),
        ({"x-token": "h", "cookie": "session=c"}, "/?access_token=q", "h"),
        ({"cookie": "session=c"}, "/?access_token=q", "q"),
    ],
)
def test_find(headers: dict[str, str], path: str, found: str) -> None:
    assert find(Request(headers, path), ALL) == found


def test_only_where_it_is_looked_for() -> None:
    assert find(Request({"x-token": "h", "cookie": "session=c"}, "/?access_token=q"), BEARER) == ""
