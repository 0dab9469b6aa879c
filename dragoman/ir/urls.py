"""What may become of a request's path and host, or of a redirect's. Part of `ir.model`, which has all of
these names; `ir.rewrite` says what comes out for a request.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReplaceFullPath:
    value: str


@dataclass(frozen=True, slots=True)
class ReplacePrefix:
    """Replaces the matched `SegmentPrefix`; the result never has a doubled or missing slash."""

    prefix: str
    value: str


@dataclass(frozen=True, slots=True)
class ReplacePattern:
    """Replaces every part of the path (without query) that matches `pattern` (RE2); `\\1` in `value` is the
    first group."""

    pattern: str
    value: str


PathRewrite = ReplaceFullPath | ReplacePrefix | ReplacePattern


@dataclass(frozen=True, slots=True)
class HostFromHeader:
    """The value of a header of the request (lower case) becomes the host; without the header it stays."""

    name: str


@dataclass(frozen=True, slots=True)
class HostFromPath:
    """What `ReplacePattern` makes of the path becomes the host."""

    pattern: str
    value: str


HostRewrite = HostFromHeader | HostFromPath
