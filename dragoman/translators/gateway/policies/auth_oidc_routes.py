"""How routes have a login: what it asks of their tokens, and whether browsers find the way back.

Called by `auth` for each route under a login, and by the wiring for each HTTPRoute.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dragoman.diagnostics import Diagnostic, warning
from dragoman.ir import model as ir


def on_route(found: ir.Login, jwt: ir.Jwt | None) -> tuple[ir.Login, ir.Jwt | None]:
    """The login as a route has it, and what it asks of tokens. A browser's token goes to those who check it,
    and to the backend only where the login says so."""
    if jwt is None:
        return found, None
    jwt = replace(jwt, providers=tuple(_of_session(one, found) for one in jwt.providers))
    # Where a token may be missing, bringing any would be a way around the login.
    own = not jwt.optional and not (found.id_token and found.forward)
    return replace(found, checked=True, bearers=own), jwt


def _of_session(given: ir.JwtProvider, login: ir.Login) -> ir.JwtProvider:
    """An issuer whose tokens may come from a session, too."""
    places = given.places
    given = replace(given, headers=places.headers, params=places.params)
    if all(name.lower() != login.token_header[0] for name, _ in given.headers):
        given = replace(given, headers=(*given.headers, login.token_header))
    return given if login.forward else replace(given, forward=False)


def astray(routes: Sequence[ir.Route]) -> Iterator[Diagnostic]:
    """Logins whose way back leads to no rule that knows of them."""
    logins: dict[ir.Login, ir.Route] = {}
    for route in routes:
        if route.auth is not None and route.auth.login is not None:
            logins.setdefault(route.auth.login, route)
    for one, first in logins.items():
        covers = [route.match.path for route in routes if route.auth is not None and route.auth.login == one]
        for path in (one.callback, one.logout):
            if first.origin is not None and not any(_covers(each, path) for each in covers):
                message = f"no rule under the login matches {path}"
                label = "browsers cannot log in" if path == one.callback else "nobody can log out"
                hint = "choose `redirectPath` and `logoutPath` under a path of the rule"
                yield warning("DRG1842", message, first.origin, label=label, help=hint)


def _covers(match: ir.PathMatch, path: str) -> bool:
    match match:
        case ir.SegmentPrefix(value):
            return path == value.rstrip("/") or path.startswith(f"{value.rstrip('/')}/")
        case ir.ExactPath(value):
            return path == value
        case _:
            return True  # a regular expression: the benefit of the doubt
