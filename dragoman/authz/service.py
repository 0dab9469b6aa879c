"""`Check` of Envoy's ext_authz and health, over bytes: what the transport calls.

A route's context extensions name the policies: who is asked about the token, who about the API key. Both
must pass, the key last, since it is counted. `load` takes other policies; what is remembered of tokens stays
unless what it depends on has changed. A policy that is gone is known for a while, since proxies may still ask
for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Final

from dragoman import proto
from dragoman.authz import answers, clients, credentials, introspection, keys
from dragoman.authz.cache import Cache, Clock
from dragoman.authz.client import Ask
from dragoman.authz.metrics import Metrics
from dragoman.authz.verdicts import UNAVAILABLE, Denial, Grant, Trouble, Verdict
from dragoman.envoy import authz
from dragoman.ir import model as ir
from dragoman.proto import texts
from dragoman.proto.envoy.service.auth import v3 as auth
from dragoman.proto.grpc.health import v1 as health

log = logging.getLogger(__name__)

CHECK: Final = "/envoy.service.auth.v3.Authorization/Check"
HEALTH_CHECK: Final = "/grpc.health.v1.Health/Check"
HEALTH_WATCH: Final = "/grpc.health.v1.Health/Watch"

_SERVICES: Final = ("", authz.CLUSTER, "envoy.service.auth.v3.Authorization")
_LINGER: Final = 60.0
_OTHER: Final = "other"
"""In metrics, a policy that nobody has told us of."""
_SERVING: Final = health.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health.HealthCheckResponse.NOT_SERVING
_UNKNOWN: Final = health.HealthCheckResponse.SERVICE_UNKNOWN


class BadRequest(Exception):  # noqa: N818 (it is the caller's)
    """The bytes are no request of this method."""


class Service:
    """`load` policies, then `check`. `store` None: there is no Redis. `most`: tokens that are remembered for
    each policy."""

    def __init__(
        self,
        ask: Ask,
        store: keys.Runner | None,
        metrics: Metrics,
        *,
        most: int = 20_000,
        clock: Clock | None = None,
    ) -> None:
        self._ask = ask
        self._store = store
        self._metrics = metrics
        self._most = most
        self._clock = clock or Clock()
        self._tokens: dict[str, introspection.Tokens] = {}
        self._readers: dict[str, ir.KeyReader] = {}
        self._members = clients.Members()
        self._leaving: dict[tuple[str, str], float] = {}
        self._watchers: set[asyncio.Event] = set()
        self._strangers: set[str] = set()
        self.ready = False
        """Whether calls are to be sent here: not before there are policies, nor at the end."""
        metrics.sizes = self.sizes

    def sizes(self) -> dict[str, int]:
        """Tokens that are remembered, by policy."""
        return {policy: len(one.cache) for policy, one in self._tokens.items()}

    def load(self, asked: Iterable[ir.Asked]) -> None:
        """Looks up by these policies from now on."""
        there: set[tuple[str, str]] = set()
        members: list[ir.Members] = []
        for one in asked:
            match one:
                case ir.Introspector():
                    there.add((authz.INTROSPECTION, one.policy))
                    self._take(one)
                case ir.KeyReader():
                    there.add((authz.KEYS, one.policy))
                    self._readers[one.policy] = one
                case ir.Members():
                    members.append(one)
        self._members.load(members)
        self._forget(there)
        self._strangers.clear()
        self._enter(ready=True)

    def _take(self, told: ir.Introspector) -> None:
        known = self._tokens.get(told.policy)
        if known is not None and known.told == told:
            return
        if known is not None and _means(known.told) == _means(told):
            cache = known.cache
        else:
            cache = Cache(self._most, self._clock)
        self._tokens[told.policy] = introspection.Tokens(told, self._ask, self._metrics, cache, self._clock)

    def _forget(self, there: set[tuple[str, str]]) -> None:
        now = self._clock.steady()
        known = {(authz.INTROSPECTION, name) for name in self._tokens}
        known |= {(authz.KEYS, name) for name in self._readers}
        for key in known & there:
            self._leaving.pop(key, None)
        for key in known - there:
            if self._leaving.setdefault(key, now + _LINGER) <= now:
                del self._leaving[key]
                (self._tokens if key[0] == authz.INTROSPECTION else self._readers).pop(key[1], None)

    def drain(self) -> None:
        """Health checks fail from now on; calls are still answered."""
        self._enter(ready=False)

    async def stop(self) -> None:
        """Ends what is under way."""
        await asyncio.gather(*(one.stop() for one in self._tokens.values()))

    async def check(self, message: bytes) -> bytes:
        """A CheckRequest's CheckResponse. Raises `BadRequest`."""
        try:
            asked = texts.parse(auth.CheckRequest, message).attributes
        except proto.DecodeError:
            raise BadRequest("the request is no CheckRequest") from None
        http = asked.request.http
        request = credentials.Request(http.headers, http.path)
        policy = asked.context_extensions.get(authz.INTROSPECTION, "")
        reader = asked.context_extensions.get(authz.KEYS, "")
        optional = asked.context_extensions.get(authz.OPTIONAL, "").split(",")
        grants: dict[str, Grant] = {}
        for kind, name, find in ((authz.INTROSPECTION, policy, self._token), (authz.KEYS, reader, self._key)):
            if name:
                found = await find(name, request, optional=kind in optional)
                if isinstance(found, Denial):
                    return answers.denied(found, http.host)
                grants[kind] = found
        if not grants:
            return answers.denied(self._stranger(_OTHER), http.host)
        headers = sum((one.headers for one in grants.values()), ())
        told = sum((one.told for one in grants.values()), ())
        opened = tuple(kind for kind, one in grants.items() if one.open)
        return answers.allowed(headers, told, opened)

    async def _token(
        self,
        policy: str,
        request: credentials.Request,
        *,
        optional: bool,
    ) -> Verdict:
        tokens = self._tokens.get(policy)
        if tokens is None:
            return self._stranger(policy)
        told = tokens.told
        token = credentials.find(request, told.places)
        if not token:
            return self._missing(policy, introspection.MISSING, optional=optional)
        known = tokens.known(token)
        if known is not None:
            self._metrics.cache("hit", policy)
            return self._counted(policy, known)
        return self._settled(policy, await tokens.find(token), told.fail_open)

    async def _key(
        self,
        policy: str,
        request: credentials.Request,
        *,
        optional: bool,
    ) -> Verdict:
        told = self._readers.get(policy)
        if told is None:
            return self._stranger(policy)
        key = credentials.find(request, told.places)
        if not key:
            return self._missing(policy, keys.MISSING, optional=optional)
        return self._settled(
            policy, await keys.find(self._store, told, key, self._members.get), told.fail_open
        )

    def _settled(self, policy: str, found: Verdict | Trouble, fail_open: bool) -> Verdict:
        """What becomes of a request about which nobody could be asked is the policy's to say."""
        if not isinstance(found, Trouble):
            return self._counted(policy, found)
        self._metrics.error(policy, found.reason)
        if fail_open:
            self._metrics.request(policy, "open")
            return Grant(open=True)
        return self._counted(policy, UNAVAILABLE)

    def _missing(self, policy: str, refusal: Denial, *, optional: bool) -> Verdict:
        if not optional:
            return self._counted(policy, refusal)
        self._metrics.request(policy, "anonymous")
        return Grant()

    def _counted(self, policy: str, verdict: Verdict) -> Verdict:
        self._metrics.request(policy, verdict.outcome if isinstance(verdict, Denial) else "allowed")
        return verdict

    def _stranger(self, policy: str) -> Denial:
        if policy not in self._strangers and len(self._strangers) < 100:
            self._strangers.add(policy)
            log.warning("asked for a policy that is not known", extra={"fields": {"policy": policy}})
        self._metrics.error(_OTHER, "unknown_policy")
        self._metrics.request(_OTHER, UNAVAILABLE.outcome)
        return UNAVAILABLE

    # Health

    def health(self, message: bytes) -> bytes | None:
        """grpc.health.v1.Health/Check; None where the service is not known. Raises `BadRequest`."""
        return self._health() if _service(message) in _SERVICES else None

    async def watch(self, message: bytes) -> AsyncIterator[bytes]:
        """grpc.health.v1.Health/Watch: the state, and again when it changes."""
        known = _service(message) in _SERVICES
        while True:
            changed = asyncio.Event()
            self._watchers.add(changed)
            try:
                yield (
                    self._health() if known else proto.serialize(health.HealthCheckResponse(status=_UNKNOWN))
                )
                await changed.wait()
            finally:
                self._watchers.discard(changed)

    def _health(self) -> bytes:
        status = _SERVING if self.ready else _NOT_SERVING
        return proto.serialize(health.HealthCheckResponse(status=status))

    def _enter(self, *, ready: bool) -> None:
        if ready == self.ready:
            return
        self.ready = ready
        for watcher in self._watchers:
            watcher.set()


def _service(message: bytes) -> str:
    try:
        return health.HealthCheckRequest.FromString(message).service
    except proto.DecodeError:
        raise BadRequest("the request is no HealthCheckRequest") from None


def _means(told: ir.Introspector) -> ir.Introspector:
    """What remembered answers depend on: not how we log in, nor how long we wait."""
    return replace(told, client_secret="", post=False, timeout=0.0, places=ir.Places(), fail_open=False)
