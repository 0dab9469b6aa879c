"""A request, and what Envoy's connection manager makes of it before it looks at routes.

`prepare` follows the settings that `envoy/connection_manager.py` writes. By default paths are canonicalised
and their slashes merged, escaped slashes are answered with a redirect to the plain form, header names with
underscores are dropped (ClientPolicies can change that); a host name's trailing dot and port are left
aside. Each rule here was seen on Envoy 1.40, and `tests/envoy/test_explain_agrees.py` asks the real one.
Called by `match` and by those who print a request.
"""

from __future__ import annotations

import ipaddress
import re
import string
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

from dragoman.ir import client

WELL_KNOWN: Final[Mapping[str, int]] = {"http": 80, "https": 443}

_SCHEMES: Final = {"http": "http", "https": "https", "tcp": "http", "udp": "http", "tls": "https"}

_AUTHORITY_END: Final = re.compile("[/?]")
_AS_IT_IS: Final = string.punctuation
"""What a URL's path and query may hold besides letters and digits, as far as clients send it unescaped."""

_ESCAPED_SLASH: Final = re.compile(r"%(2[fF]|5[cC])")
_DOT_WITH_PARAMETER: Final = re.compile(r"(?<=/)(\.{1,2});[^/]*")
_DOT: Final = re.compile(r"\.|%2[eE]")
_ESCAPE: Final = re.compile(r"%([0-9a-fA-F]{2})")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ENCODED: Final = frozenset('"<>^`{|}')
_HOP_BY_HOP: Final = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade")
)

# Where a request repeats them, Envoy keeps one value of these, joined by commas, and all values of others.
_JOINED: Final = re.compile(
    "accept|accept-encoding|access-control-request-(headers|method)|authorization|cache-control|content-type"
    "|expect|grpc-accept-encoding|grpc-timeout|if-modified-since|if-none-match|origin|pragma|referer"
    "|user-agent|via|x-client-trace-id|x-envoy-attempt-count|x-forwarded-(host|port)"
)
# What a client says with these would steer Envoy itself: an edge proxy drops them.
_INTERNAL: Final = re.compile(
    "x-envoy-(downstream-service-(cluster|node)|expected-rq-timeout-ms|external-address|force-trace"
    "|hedge-on-per-try-timeout|internal|ip-tags|max-retries|original-url"
    "|retriable-(header-names|status-codes)|retry-(grpc-)?on|upstream-alt-stat-name"
    "|upstream-rq-(per-try-timeout-ms|timeout-alt-response|timeout-ms))"
)


@dataclass(frozen=True, slots=True)
class Request:
    """As a client sends it. `authority` is the Host header (`host[:port]`), `path` has the query.

    `port` and `address` say where it connects to; 0 and "": wherever a listener fits. `sni` None: the host
    name, as browsers do. `claims` (path, value): it brings a good token that says these and nothing else;
    none: nothing is known of its token.
    """

    authority: str
    path: str = "/"
    method: str = "GET"
    scheme: str = "http"
    headers: tuple[tuple[str, str], ...] = ()
    port: int = 0
    address: str = ""
    sni: str | None = None
    client: str = "127.0.0.1"
    udp: bool = False
    lot: int = 0  # below a million: the number that Envoy draws for `RouteMatch.share`
    claims: tuple[tuple[str, str], ...] = ()

    @property
    def server_name(self) -> str:
        """The TLS server name; empty without TLS, and for addresses (RFC 6066, section 3)."""
        if self.scheme != "https":
            return ""
        if self.sni is not None:
            return self.sni.lower()
        name = host_of(self.authority)
        return "" if is_address(name) else name

    def claimed(self, path: Iterable[str]) -> frozenset[str]:
        """The values of one claim. A scope stands for itself, as in a token (RFC 8693)."""
        name = ".".join(path)
        found = [value for key, value in self.claims if key == name]
        return frozenset(part for one in found for part in (one.split() if name == "scope" else [one]))

    def __str__(self) -> str:
        said = ", ".join(f"{name} {value}" for name, value in self.claims)
        token = f" (its token says {said})" if said else ""
        return f"{self.method} {self.scheme}://{self.authority}{self.path}{token}"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the connection manager answers itself, before any route is looked at."""

    status: int
    reason: str
    location: str = ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request as routes see it.

    `host` is lower case, without port; `authority` what the backend sees; `path` has no query, `query` no
    `?`. `headers` maps lower-case names to the values that matchers compare, one by one. `notes` say what
    was changed, in words.
    """

    host: str
    authority: str
    path: str
    query: str | None
    headers: Mapping[str, tuple[str, ...]]
    reply: Reply | None = None
    notes: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """Path and query."""
        return self.path if self.query is None else f"{self.path}?{self.query}"

    def parameter(self, name: str) -> str | None:
        """The first value of a query parameter, as it stands there: Envoy decodes nothing."""
        for pair in (self.query or "").split("&"):
            key, _, value = pair.partition("=")
            if key == name:
                return value
        return None


def parse(
    method: str,
    url: str,
    headers: Iterable[tuple[str, str]] = (),
    *,
    port: int = 0,
    address: str = "",
    sni: str | None = None,
) -> Request:
    """A request from a URL, as clients make it: without the fragment, and with escapes for what no request
    line may hold. A `Host` among the headers becomes the authority, as with curl; the connection goes where
    the URL says.

    Connections and datagrams have URLs too: `tcp://host:port`, `tls://name:port`, `udp://host:port`.

    Raises ValueError for what is none of these.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise ValueError(
            f"{url}: expected http://host/path, https://host/path, or tcp, tls or udp://host:port"
        )
    rest = (url.partition("://")[2] or url).partition("#")[0]
    begin = _AUTHORITY_END.search(rest)
    path = rest[begin.start() :] if begin is not None else ""
    kept = tuple((name, value) for name, value in headers if name.lower() != "host")
    hosts = [value for name, value in headers if name.lower() == "host"]
    if sni is None and hosts and scheme == "https" and not is_address(parts.hostname):
        sni = parts.hostname
    return Request(
        authority=hosts[-1] if hosts else parts.netloc.rpartition("@")[2],
        path=quote(path if path.startswith("/") else f"/{path}", safe=_AS_IT_IS),
        method=method,
        scheme=scheme,
        headers=kept,
        port=port or parts.port or 0,
        address=address,
        sni=sni,
        udp=parts.scheme == "udp",
    )


def prepare(request: Request, settings: client.Http = client.DEFAULT_CLIENTS.http) -> Prepared:
    """What Envoy makes of `request` before routing, or its `reply` where it goes no further. Limits of size
    and number are left aside."""
    notes: list[str] = []
    authority = _without_trailing_dot(request.authority)
    raw, question, query = request.path.partition("?")
    reply: Reply | None = None
    path = raw
    printable = request.path.isascii() and request.path.isprintable() and " " not in request.path
    if not raw.startswith("/") or "#" in request.path or not printable:
        reply = Reply(400, f"`{request.path}` is not a path that Envoy accepts")
    else:
        path, reply = _plain_path(raw, settings)
        if reply is None and path != raw:
            notes.append(f"the path `{raw}` was normalised to `{path}`")
        elif reply is not None and reply.status == 307:
            reply = Reply(307, reply.reason, f"{path}?{query}" if question else path)
    marked = sorted({name for name, _ in request.headers if "_" in name})
    if settings.underscores is client.Underscores.DROP:
        notes.extend(f"the header `{name}` was dropped: its name has an underscore" for name in marked)
    elif (
        marked
        and settings.underscores is client.Underscores.REJECT
        and (reply is None or reply.status == 307)
    ):
        # Headers are read before the path is looked at.
        reply = Reply(400, f"the name of the header `{marked[0]}` has an underscore")
    if settings.early:
        notes.append("headers were changed before a route was looked for (earlyHeaders)")
    return Prepared(
        host=host_of(authority),
        authority=authority,
        path=path,
        query=query if question else None,
        headers=_headers(request, authority, settings),
        reply=reply,
        notes=tuple(notes),
    )


def host_of(authority: str) -> str:
    """The host of `host[:port]` as virtual hosts are found by it: lower case, without the port."""
    return without_port(authority).lower()


def without_port(authority: str) -> str:
    """`host[:port]` without its port."""
    end = _port_start(authority)
    return authority if end < 0 else authority[:end]


def port_of(authority: str) -> str:
    """The port of `host[:port]` as it stands there, without the colon; empty where there is none."""
    end = _port_start(authority)
    return "" if end < 0 else authority[end + 1 :]


def is_address(host: str) -> bool:
    """Whether a host is an IP address."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def canonical(path: str) -> str:
    """Envoy's `normalize_path`: dot segments resolved, unreserved characters decoded, unsafe ones encoded.

    `path` begins with `/` and has no query. Dots may be written `%2e`; a backslash is a slash.
    """
    path = _DOT_WITH_PARAMETER.sub(r"\1", path)
    out: list[str] = []
    at, end = 0, len(path)
    while at < end:
        char = path[at]
        if (dot := _DOT.match(path, at)) is not None:
            at = dot.end()
            if out[-1:] != ["/"]:
                out.append(".")
                continue
            second = _DOT.match(path, at)
            after = second.end() if second is not None else at
            if at == end or path[at] in "/\\":
                at += 1
            elif second is not None and (after == end or path[after] in "/\\"):
                _up(out)
                at = after + 1
            else:
                out.append(".")
        elif char == "%" and (escape := _ESCAPE.match(path, at)) is not None:
            decoded = chr(int(escape[1], 16))
            out.extend(decoded if decoded in _UNRESERVED else escape[0])
            at += 3
        else:
            out.extend("/" if char == "\\" else f"%{ord(char):02X}" if char in _ENCODED else char)
            at += 1
    return "".join(out)


def merge_slashes(path: str) -> str:
    """Envoy's `merge_slashes`; a path of nothing but slashes keeps two."""
    if "//" not in path:
        return path
    middle = "/".join(part for part in path.split("/") if part)
    return f"/{middle}{'/' if path.endswith('/') else ''}"


def _plain_path(raw: str, settings: client.Http) -> tuple[str, Reply | None]:
    slashes = settings.escaped_slashes
    unescaped = raw
    if slashes is not client.EscapedSlashes.KEEP:
        unescaped = _ESCAPED_SLASH.sub(lambda found: "/" if found[0][1] == "2" else "\\", raw)
    if unescaped != raw and slashes is client.EscapedSlashes.REJECT:
        return raw, Reply(400, "the path has an escaped slash")
    path = unescaped
    if settings.normalize:
        if "%00" in unescaped:
            return raw, Reply(400, "the path has an escaped null byte")
        path = canonical(path)
    if settings.merge_slashes:
        path = merge_slashes(path)
    if unescaped != raw and slashes is client.EscapedSlashes.REDIRECT:
        return path, Reply(307, "the path has an escaped slash: Envoy redirects to the plain form")
    return path, None


def _up(out: list[str]) -> None:
    """Drops the last segment; `out` ends with a slash."""
    if len(out) > 1:
        out.pop()
        while out[-1] != "/":
            out.pop()


def _port_start(authority: str) -> int:
    """Where the port's colon is, or -1. A bare IPv6 address has none."""
    colon = authority.rfind(":")
    if authority.startswith("["):
        return colon if colon > authority.find("]") else -1
    return colon if authority.find(":") == colon else -1


def _without_trailing_dot(authority: str) -> str:
    end = _port_start(authority)
    host, rest = (authority, "") if end < 0 else (authority[:end], authority[end:])
    return host.removesuffix(".") + rest


def _early(request: Request, settings: client.Http) -> Iterator[tuple[str, str]]:
    """The headers after the changes that come first of all."""
    gone = {name.lower() for name in settings.early.remove}
    gone |= {name.lower() for name, _ in settings.early.set}
    for name, value in request.headers:
        dropped = "_" in name and settings.underscores is client.Underscores.DROP
        if not dropped and name.lower() not in gone:
            yield name, value
    yield from settings.early.set
    yield from settings.early.add


def _headers(request: Request, authority: str, settings: client.Http) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, value in _early(request, settings):
        lower = name.lower()
        if not _INTERNAL.fullmatch(lower):
            found[lower] = (*found.get(lower, ()), value.strip(" \t"))
    upgrade = "upgrade" in ",".join(found.get("connection", ())).lower() and "upgrade" in found
    for name in _HOP_BY_HOP:
        if not (upgrade and name in ("connection", "upgrade")):
            found.pop(name, None)
    for name, values in found.items():
        if len(values) > 1 and _JOINED.fullmatch(name):
            found[name] = (",".join(filter(None, values)),)
    found["x-forwarded-for"] = (",".join(filter(None, (*found.get("x-forwarded-for", ()), request.client))),)
    found["x-forwarded-proto"] = (request.scheme,)
    found.setdefault("x-request-id", ("",))
    found["host"] = found[":authority"] = (authority,)
    return found
