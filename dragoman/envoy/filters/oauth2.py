"""Logins of browsers (OpenID Connect), by Envoy's `oauth2`.

Routes say all of it; the two secrets come by SDS, and until they are there requests get 503. The session is
in cookies that Envoy encrypts (AES-256-GCM) and signs. Their names begin with `__Host-`, so browsers take
them only over TLS, for this host alone, and no other host of the domain can plant one; each login has names
of its own. `spent` takes them off before the backend, which would get the tokens decrypted.

Only what a person looks at is sent to the provider: scripts and API clients could do nothing with a redirect
and get 401.
"""

from __future__ import annotations

import functools
from typing import Final

from dragoman.envoy import durations, naming, sources
from dragoman.envoy.filters import base
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.route import v3 as route_proto
from dragoman.proto.envoy.extensions.filters.http.oauth2 import v3 as oauth2

COOKIES: Final = "__Host-login-"
"""What the names of all cookies of logins begin with."""

_NAMES: Final = {
    "bearer_token": "access",
    "id_token": "id",
    "refresh_token": "refresh",
    "oauth_hmac": "mac",
    "oauth_expires": "until",
    "oauth_nonce": "nonce",
    "code_verifier": "verifier",
}
_SCRIPTS: Final = "cors|no-cors|same-origin|websocket"
"""Values of `Sec-Fetch-Mode` of requests that no address bar shows."""

_DEFAULT_LIFETIME: Final = 3600
"""Seconds that a token counts whose provider does not say it."""


class OAuth2:
    """`envoy.filters.http.oauth2`."""

    name = "envoy.filters.http.oauth2"
    disabled = True

    def config(self) -> base.Config:
        return base.config(oauth2.OAuth2())

    def per_route(self, route: ir.Route) -> base.Config | None:
        auth = route.auth
        if auth is None or auth.login is None:
            return None
        # Said twice, since it would be a way around the login: such a token is always checked.
        return _per_route(auth.login, auth.login.bearers and auth.jwt is not None and not auth.jwt.optional)


FILTER = OAuth2()


@functools.lru_cache(maxsize=4096)
def _per_route(login: ir.Login, bearers: bool) -> base.Config:
    message = oauth2.OAuth2PerRoute()
    config = message.config
    config.authorization_endpoint = login.authorization
    config.token_endpoint.uri = login.token
    config.token_endpoint.cluster = naming.cluster(login.cluster)
    durations.assign(config.token_endpoint.timeout, login.timeout)
    config.end_session_endpoint = login.end_session
    config.redirect_uri = f"%REQ(x-forwarded-proto)%://%REQ(:authority)%{login.callback}"
    config.redirect_path_matcher.path.exact = login.callback
    config.signout_path.path.exact = login.logout
    config.auth_scopes.extend(login.scopes)
    config.resources.extend(login.resources)
    if login.by_header:
        config.auth_type = oauth2.OAuth2Config.BASIC_AUTH
    config.use_refresh_token.value = login.refresh
    durations.assign(config.default_expires_in, _DEFAULT_LIFETIME)
    config.token_cookie_chunking.SetInParent()  # browsers keep 4 KB of a cookie, and tokens may be longer
    if login.checked or login.forward:
        if login.id_token:
            config.forward_id_token.header = login.token_header[0]
        else:
            config.forward_bearer_token = True
    if bearers:
        own = config.pass_through_matcher.add(name="authorization")
        own.string_match.prefix = "Bearer "
        own.string_match.ignore_case = True
    _scripts(config)
    _credentials(config, login)
    return base.config(message)


def _scripts(config: oauth2.OAuth2Config) -> None:
    """Requests that get 401 instead of a redirect; one of these is enough."""
    config.deny_redirect_matcher.add(name="x-requested-with", present_match=True)
    mode: route_proto.HeaderMatcher = config.deny_redirect_matcher.add(name="sec-fetch-mode")
    mode.string_match.safe_regex.regex = _SCRIPTS
    page = config.deny_redirect_matcher.add(name="accept", invert_match=True)
    page.string_match.contains = "text/html"


def _credentials(config: oauth2.OAuth2Config, login: ir.Login) -> None:
    credentials = config.credentials
    credentials.client_id = login.client_id
    sources.write_secret(credentials.token_secret, login.secret)
    sources.write_secret(credentials.hmac_secret, login.seal)
    for field, name in _NAMES.items():
        setattr(credentials.cookie_names, field, f"{COOKIES}{login.name}-{name}")
        cookie: oauth2.CookieConfig = getattr(config.cookie_configs, f"{field}_cookie_config")
        cookie.same_site = oauth2.CookieConfig.LAX  # strict ones would not come back from the provider
