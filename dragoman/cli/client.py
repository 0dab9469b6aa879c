"""Asks a running control plane: its admin API, JSON back. GET to know something, POST to change it.

The standard library's client is enough for one request, and costs no import of aiohttp.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from dragoman.cli import failure

_TIMEOUT = 10.0


def get(server: str, path: str, query: Mapping[str, str | Sequence[str]] | None = None) -> Any:
    """The answer to `/api/v1/<path>`. `Failure` (DRG5004) when there is none, with what the server said when
    it refused.
    """
    return _ask("GET", server, path, query)


def post(server: str, path: str, query: Mapping[str, str | Sequence[str]] | None = None) -> Any:
    """As `get`, of what changes something."""
    return _ask("POST", server, path, query)


def _ask(method: str, server: str, path: str, query: Mapping[str, str | Sequence[str]] | None) -> Any:
    if not server.startswith(("http://", "https://")):
        server = f"http://{server}"
    url = f"{server.rstrip('/')}/api/v1/{path}"
    given = {name: value for name, value in (query or {}).items() if value}
    if given:
        url += "?" + urllib.parse.urlencode(given, doseq=True)
    # No proxy: the admin address is near, and an environment's http_proxy must not see it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        # The header is what web pages cannot send (admin/server.py).
        request = urllib.request.Request(url, method=method, headers={"X-Dragoman": "1"})
    except ValueError as error:
        raise _no_address(server, error) from None
    try:
        with opener.open(request, timeout=_TIMEOUT) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise failure.Failure(_said(error)) from None
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise failure.Failure(
            f"no control plane answers at {server}: {getattr(reason, 'strerror', None) or reason}",
            code="DRG5004",
            help="start one with `dragoman run PATH`, or name its admin address with --server",
        ) from None
    except http.client.InvalidURL as error:
        raise _no_address(server, error) from None
    except http.client.HTTPException:
        raise failure.Failure(
            f"{server} answers something else than HTTP",
            code="DRG5004",
            help="the admin address is wanted, not that of xDS; `dragoman run` prints both",
        ) from None
    except ValueError as error:
        raise failure.Failure(f"{url} answers something else than JSON: {error}", code="DRG5004") from None


def _no_address(server: str, error: Exception) -> failure.Failure:
    return failure.Failure(
        f"--server {server} is no address: {error}", code="DRG5004", help="expected http://HOST:PORT"
    )


def _said(error: urllib.error.HTTPError) -> str:
    body = error.read(4096).decode(errors="replace").strip()
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}: {body}"
