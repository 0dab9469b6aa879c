"""Rules of an AuthPolicy's `oidc` that span several fields. Called by `rules_auth`."""

from __future__ import annotations

from collections.abc import Iterator

from dragoman.diagnostics import Diagnostic, error
from dragoman.refs import Origin
from dragoman.translators.gateway.models import auth_oidc


def check(where: Origin, given: auth_oidc.Oidc) -> Iterator[Diagnostic]:
    """What is wrong with `oidc`."""
    if given.disabled:
        return
    needed = {
        "issuer": given.issuer,
        "clientID": given.client_id,
        "clientSecretRef": given.client_secret_ref,
    }
    for name in (name for name, value in needed.items() if value is None):
        yield error("DRG1102", f"`{name}` is missing", where, label="a login cannot do without it")
    if not 0.1 <= given.timeout <= 60:
        yield error(
            "DRG1104", "`timeout` is out of range", where.at("timeout"), label="expected 100ms to 60s"
        )
    if given.redirect_path == given.logout_path:
        message = "browsers that come back from the login would be logged out"
        yield error("DRG1108", message, where.at("logoutPath"), label="the same as `redirectPath`")
    for name, path in (("redirectPath", given.redirect_path), ("logoutPath", given.logout_path)):
        if "//" in path or "/./" in f"{path}/" or "/../" in f"{path}/":
            label = "expected a path such as /oauth2/callback"
            yield error("DRG1103", f"`{path}` is never seen as it stands", where.at(name), label=label)
