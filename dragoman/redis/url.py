"""Where Redis is, as one line of text.

    redis://[user[:password]@]host[:6379][/database]        one server; rediss:// with TLS
    unix:///run/redis/redis.sock[?db=1]                     one server on a unix socket
    redis+sentinel://host[:26379],host/master[/database]    the master that Sentinel names
    redis+cluster://host[:6379],host                        a cluster; any of its nodes will do

Each with `rediss` for TLS. Parameters behind `?`: `ca`, `certificate` and `key` (PEM files), `server_name`
(the name in the server's certificate), `password_file`, `sentinel_password_file`, `db`. The password stands
in no message, log line or repr. Called by the command line and the runtime.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

Kind = Literal["single", "sentinel", "cluster"]

SCHEMES: Final[dict[str, Kind]] = {
    "redis": "single",
    "unix": "single",
    "redis+sentinel": "sentinel",
    "redis+cluster": "cluster",
}

_PARAMETERS: Final = frozenset(
    {"ca", "certificate", "db", "key", "password_file", "sentinel_password_file", "server_name"}
)


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port, or the path of a unix socket (then the port is 0)."""

    host: str
    port: int = 0

    def __str__(self) -> str:
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files, read at every connection, so that renewed ones are used. `ca` None: the system's."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str = ""

    def context(self) -> ssl.SSLContext:
        """Raises OSError (ssl.SSLError is one) where a file cannot be used."""
        context = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        return context


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed URL. `master` is Sentinel's name for what it watches."""

    kind: Kind
    addresses: tuple[Address, ...]
    master: str = ""
    database: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    sentinel_password: str = field(default="", repr=False)
    tls: Tls | None = None

    def __str__(self) -> str:
        where = ", ".join(map(str, self.addresses))
        return f"{self.master} at {where}" if self.master else where


def parse(text: str) -> Target:
    """Raises ValueError with one sentence, OSError where a password file cannot be read."""
    scheme, _, rest = text.partition("://")
    secure = scheme == "rediss" or scheme.startswith("rediss+")
    kind = SCHEMES.get(scheme.replace("rediss", "redis", 1) if secure else scheme)
    if kind is None:
        raise ValueError(f"a store is `memory` or begins with one of {', '.join(f'{s}://' for s in SCHEMES)}")
    if not rest:
        raise ValueError(f"the store's URL has no host: {scheme}://HOST:PORT")
    # urlsplit takes one host only; the list is taken apart here.
    parts = urlsplit(f"x://{rest}")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(query.keys() - _PARAMETERS):
        raise ValueError(
            f"the store's URL has no parameter `{unknown[0]}`; there are {', '.join(sorted(_PARAMETERS))}"
        )
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    path = [unquote(each) for each in parts.path.split("/") if each]
    master = ""
    if scheme == "unix":
        if not parts.path or hosts:
            raise ValueError("a unix socket is named by its whole path: unix:///run/redis.sock")
        addresses: tuple[Address, ...] = (Address(unquote(parts.path)),)
        path = []
    else:
        port = 26379 if kind == "sentinel" else 6379
        addresses = tuple(_address(each, port) for each in hosts.split(","))
    if kind == "single" and len(addresses) > 1:
        raise ValueError("several hosts are a Sentinel or a cluster: redis+sentinel:// or redis+cluster://")
    if kind == "sentinel":
        if not path:
            raise ValueError("Sentinel needs the name of the master: redis+sentinel://host:26379/mymaster")
        master = path.pop(0)
    number = path.pop(0) if path else query.get("db", "0")
    if path or not number.isascii() or not number.isdecimal():
        raise ValueError("behind the host there is at most the number of a database")
    if kind == "cluster" and int(number):
        raise ValueError("a cluster has no databases but 0")
    files = {name: Path(query[name]) for name in ("ca", "certificate", "key") if query.get(name)}
    if (files or query.get("server_name")) and not secure:
        raise ValueError("certificates are for rediss://")
    if ("certificate" in files) != ("key" in files):
        raise ValueError("`certificate` and `key` come together")
    return Target(
        kind,
        addresses,
        master,
        int(number),
        unquote(user),
        _secret(query.get("password_file")) or unquote(password),
        _secret(query.get("sentinel_password_file")),
        Tls(**files, server_name=query.get("server_name", "")) if secure else None,
    )


def _address(text: str, port: int) -> Address:
    if text.startswith("["):
        host, _, given = text[1:].partition("]")
        given = given.removeprefix(":")
    else:
        host, _, given = text.partition(":")
    if not host:
        raise ValueError("the store's URL names no host")
    if not given:
        return Address(host, port)
    if not given.isascii() or not given.isdecimal() or not 0 < int(given) < 1 << 16:
        raise ValueError(f"the port of {host} is no number from 1 to 65535")
    return Address(host, int(given))


def _secret(path: str | None) -> str:
    return Path(path).read_text("utf-8").strip() if path else ""
