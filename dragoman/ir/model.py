"""The IR: what every language is translated into and everything Envoy gets is made from.

All values are frozen and compare by content; `origin` takes no part in equality. Durations are seconds
(float), sizes bytes, weights non-negative integers. One `Route` is one match and one action.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from dragoman import frozen
from dragoman.ir.auth import (
    Auth as Auth,
    AuthRule as AuthRule,
    AuthRules as AuthRules,
    Certificate as Certificate,
    Claim as Claim,
    Csrf as Csrf,
    External as External,
    Jwt as Jwt,
    JwtProvider as JwtProvider,
    Needs as Needs,
    Principal as Principal,
)
from dragoman.ir.backends import (
    HOST as HOST,
    NOBODY as NOBODY,
    AppProtocol as AppProtocol,
    Cluster as Cluster,
    ClusterKey as ClusterKey,
    Discovery as Discovery,
    Endpoint as Endpoint,
    EndpointSet as EndpointSet,
    Health as Health,
    Secret as Secret,
    SecretKey as SecretKey,
    Transport as Transport,
    UpstreamTls as UpstreamTls,
)
from dragoman.ir.basic import Basic as Basic
from dragoman.ir.cache import Cache as Cache, Storage as Storage
from dragoman.ir.client import (
    DEFAULT_CLIENTS as DEFAULT_CLIENTS,
    ClientSettings as ClientSettings,
    ClientValidation as ClientValidation,
    Http3 as Http3,
    PortSettings as PortSettings,
    TableSettings as TableSettings,
    TlsTermination as TlsTermination,
)
from dragoman.ir.conditions import (
    SHARES as SHARES,
    Exact as Exact,
    ExactPath as ExactPath,
    HeaderMatch as HeaderMatch,
    PathMatch as PathMatch,
    Present as Present,
    QueryMatch as QueryMatch,
    Regex as Regex,
    RegexPath as RegexPath,
    RouteMatch as RouteMatch,
    SegmentPrefix as SegmentPrefix,
    StringPrefix as StringPrefix,
    ValueMatch as ValueMatch,
)
from dragoman.ir.gateways import (
    FAMILIES as FAMILIES,
    Family as Family,
    Gateway as Gateway,
    GatewayListener as GatewayListener,
    Protocol as Protocol,
)
from dragoman.ir.keys import (
    AnySet as AnySet,
    ApiKeys as ApiKeys,
    Client as Client,
    Content as Content,
    Keys as Keys,
    KeySet as KeySet,
    Lookup as Lookup,
    Proof as Proof,
    Shard as Shard,
    Subjects as Subjects,
    SubjectSet as SubjectSet,
)
from dragoman.ir.lookups import (
    Asked as Asked,
    Introspection as Introspection,
    Introspector as Introspector,
    KeyReader as KeyReader,
    Members as Members,
    Places as Places,
    RedisKeys as RedisKeys,
)
from dragoman.ir.oidc import BEARER as BEARER, ID_TOKEN as ID_TOKEN, Login as Login
from dragoman.ir.order import Order
from dragoman.ir.policy import Said as Said
from dragoman.ir.ratelimit import RateLimit as RateLimit
from dragoman.ir.traffic import (
    Abort as Abort,
    Answer as Answer,
    Delay as Delay,
    Fallback as Fallback,
    Faults as Faults,
    Retry as Retry,
)
from dragoman.ir.treatment import Body as Body, Pairs as Pairs, Treatment as Treatment
from dragoman.ir.urls import (
    HostFromHeader as HostFromHeader,
    HostFromPath as HostFromPath,
    HostRewrite as HostRewrite,
    PathRewrite as PathRewrite,
    ReplaceFullPath as ReplaceFullPath,
    ReplacePattern as ReplacePattern,
    ReplacePrefix as ReplacePrefix,
)
from dragoman.refs import Origin, Ref

# --- what is done to requests and responses ---------------------------------------------------------------


@frozen.statically
@dataclass(frozen=True, slots=True)
class HeaderMutation:
    """Header changes. `set` overwrites, `add` appends, `remove` drops; applied in the order remove, set,
    add."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.set or self.add or self.remove)


NO_MUTATION = HeaderMutation()
UNTREATED: Final = Treatment()


@dataclass(frozen=True, slots=True)
class Cors:
    """Gateway API's CORS filter. `allow_origins` entries are `*`, exact origins, or origins with one `*`
    label; `patterns` are regular expressions for whole origins. One that meets either is allowed."""

    allow_origins: tuple[str, ...]
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    allow_credentials: bool = False
    max_age: int = 5
    patterns: tuple[str, ...] = ()

    @property
    def exposed(self) -> tuple[str, ...]:
        """The headers that pages may see. With credentials `*` is no wildcard, and may not be answered."""
        return tuple(name for name in self.expose_headers if not (self.allow_credentials and name == "*"))


class SessionKind(enum.Enum):
    COOKIE = "Cookie"
    HEADER = "Header"


@dataclass(frozen=True, slots=True)
class SessionPersistence:
    """`ttl` is the cookie's Max-Age in seconds; 0 is a session cookie. `path` is the cookie's Path."""

    kind: SessionKind
    name: str
    ttl: float = 0.0
    path: str = "/"


@dataclass(frozen=True, slots=True)
class Mirror:
    """`numerator / denominator` of the requests are copied to `cluster`; responses are dropped."""

    cluster: ClusterKey
    numerator: int = 100
    denominator: int = 100


# --- actions ----------------------------------------------------------------------------------------------


@frozen.statically
@dataclass(frozen=True, slots=True)
class WeightedBackend:
    """A share of the traffic. `cluster` None: the reference is invalid and its share gets a 500 (`reason`
    says why)."""

    cluster: ClusterKey | None
    weight: int = 1
    request_headers: HeaderMutation = NO_MUTATION
    response_headers: HeaderMutation = NO_MUTATION
    reason: str = ""
    origin: Origin | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Case:
    """Requests whose token meets all of `claims` go to `backends` instead; all weights zero: they get the
    failure. The token was checked by then: claims that nobody proved are none."""

    claims: tuple[Claim, ...]
    backends: tuple[WeightedBackend, ...]
    origin: Origin | None = field(default=None, compare=False)


@frozen.statically
@dataclass(frozen=True, slots=True)
class Forward:
    """To backends. `timeout` and `try_timeout`: None is the default, 0 is none. All weights zero, or no
    backends: `failure`. The host becomes `hostname`, if any, else what `host` finds in the request. Of
    `cases` the first that holds says to which backends instead."""

    backends: tuple[WeightedBackend, ...]
    rewrite: PathRewrite | None = None
    hostname: str = ""
    timeout: float | None = None
    try_timeout: float | None = None
    retry: Retry | None = None
    session: SessionPersistence | None = None
    mirrors: tuple[Mirror, ...] = ()
    websocket: bool = True
    try_idle: float | None = None  # seconds without a byte of the response
    stream_idle: float | None = None  # and in either direction
    duration: float | None = None  # of the whole stream, however much moves
    fallback: Fallback | None = None
    faults: Faults | None = None
    failure: int = 500
    host: HostRewrite | None = None
    cases: tuple[Case, ...] = ()

    def shares(self) -> Iterator[WeightedBackend]:
        """All of its backends, those of cases as well."""
        yield from self.backends
        for case in self.cases:
            yield from case.backends

    def changed(self, change: Callable[[WeightedBackend], WeightedBackend]) -> Forward:
        """With every backend changed, those of cases as well."""
        cases = tuple(replace(one, backends=tuple(map(change, one.backends))) for one in self.cases)
        return replace(self, backends=tuple(map(change, self.backends)), cases=cases)

    def clusters(self) -> tuple[ClusterKey, ...]:
        """Every cluster that it may send to."""
        if len(self.backends) == 1 and not self.cases and not self.mirrors and self.fallback is None:
            only = self.backends[0].cluster  # as most are, and this is asked of all
            return (only,) if only is not None else ()
        found = [one.cluster for one in self.shares() if one.cluster is not None]
        found += [mirror.cluster for mirror in self.mirrors]
        if self.fallback is not None and self.fallback.cluster is not None:
            found.append(self.fallback.cluster)
        return tuple(dict.fromkeys(found))

    def reached(self, cluster: ClusterKey) -> ClusterKey:
        """What stands for a backend's cluster: where there is a fallback to another one, the pair of them."""
        reserve = self.fallback.cluster if self.fallback is not None else None
        return cluster if reserve in (None, cluster) else cluster._replace(reserve=(reserve,))

    def pairs(self) -> tuple[ClusterKey, ...]:
        """The pairs among what stands for its backends."""
        if self.fallback is None:
            return ()
        keys = (self.reached(one.cluster) for one in self.shares() if one.cluster is not None)
        return tuple(dict.fromkeys(key for key in keys if key.reserve))


@dataclass(frozen=True, slots=True)
class Redirect:
    """`scheme`, `hostname` empty: kept. `port` None: the specification's rule was applied by the
    translator; 0: keep out of Location."""

    status: int = 302
    scheme: str = ""
    hostname: str = ""
    port: int | None = None
    path: PathRewrite | None = None


@dataclass(frozen=True, slots=True)
class Respond:
    """A direct answer from Envoy. `content`: a body with values from the request, instead of `body`."""

    status: int
    body: str = ""
    content: Body | None = None
    headers: Pairs = ()


Action = Forward | Redirect | Respond


@frozen.statically
@dataclass(frozen=True, slots=True)
class Route:
    """One match and one action. `name` is identity: kind/namespace/name plus rule (name or index) and
    match index. `said`: the fields of policies that are in force on it. `rollout`: namespace/name of the
    Rollout that wants to hear of its requests, "" without one."""

    name: str
    match: RouteMatch
    action: Action
    order: Order
    request_headers: HeaderMutation = NO_MUTATION
    response_headers: HeaderMutation = NO_MUTATION
    cors: Cors | None = None
    origin: Origin | None = field(default=None, compare=False)
    said: tuple[Said, ...] = field(default=(), compare=False)
    auth: Auth | None = None
    treatment: Treatment = UNTREATED
    rollout: str = ""
    cache: Cache | None = None
    limits: tuple[RateLimit, ...] = ()
    csrf: Csrf | None = None

    def clusters(self) -> tuple[ClusterKey, ...]:
        """Every cluster that its requests may cause traffic to: those asked whether they may pass, too."""
        found = self.action.clusters() if isinstance(self.action, Forward) else ()
        if self.auth is None:
            return found
        asked = (one for one in (self.auth.external, self.auth.login) if one is not None)
        return tuple(dict.fromkeys((*found, *(one.cluster for one in asked))))

    def secrets(self) -> tuple[SecretKey, ...]:
        """The secrets that it needs itself: not those of its clusters."""
        login = self.auth.login if self.auth is not None else None
        return (login.secret, login.seal) if login is not None else ()


@frozen.statically
@dataclass(frozen=True, slots=True)
class Attachment:
    """A route stands on this listener of this Gateway or ListenerSet under these host names.

    `hostnames` are the intersection of route and listener, never empty; `*` stands for any host.
    """

    parent: Ref
    listener: str
    hostnames: tuple[str, ...]

    @property
    def place(self) -> tuple[Ref, str]:
        """The listener: of all that stand on it the same tuple."""
        return _place(self.parent, self.listener)


@functools.lru_cache(maxsize=1024)
def _place(parent: Ref, listener: str) -> tuple[Ref, str]:
    return parent, listener


@frozen.statically
@dataclass(frozen=True, slots=True)
class Stand:
    """Some of the listeners that a route object is attached to, and its routes as they have them."""

    attachments: tuple[Attachment, ...]
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class RouteSet:
    """What one route object contributes. There is one stand, or several where policies make the routes differ
    between listeners."""

    ref: Ref
    stands: tuple[Stand, ...]

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """Where it stands."""
        return tuple(one for stand in self.stands for one in stand.attachments)

    @property
    def routes(self) -> tuple[Route, ...]:
        """Its routes; one that differs between listeners is there several times, under one name."""
        first, *others = self.stands
        if not others:
            return first.routes
        return tuple(dict.fromkeys(route for stand in self.stands for route in stand.routes))

    def clusters(self) -> frozenset[ClusterKey]:
        """Every cluster that some route or mirror uses."""
        found: set[ClusterKey] = set()
        for route in self.routes:
            found.update(route.clusters())
        return frozenset(found)

    def secrets(self) -> frozenset[SecretKey]:
        """Every secret that some route needs itself."""
        return frozenset(key for route in self.routes for key in route.secrets())


@dataclass(frozen=True, slots=True)
class StreamRoute:
    """What one route of connections (TLSRoute, TCPRoute) or datagrams (UDPRoute) contributes.

    Attached where another is already, the older one gets everything. `age` is (creation timestamp or "~",
    namespace/name). No valid backend: connections are closed at once.
    """

    ref: Ref
    attachments: tuple[Attachment, ...]
    backends: tuple[WeightedBackend, ...]
    age: tuple[str, str]
    origin: Origin = field(compare=False)

    def clusters(self) -> frozenset[ClusterKey]:
        """Every cluster that connections may go to."""
        return frozenset(b.cluster for b in self.backends if b.cluster is not None)


# --- what an Envoy gets: assembled per node group by the pipeline -----------------------------------------


class Bind(NamedTuple):
    """Where Envoy listens."""

    address: str
    port: int
    udp: bool = False


class Scope(NamedTuple):
    """A route table's identity within a node group.

    Plain HTTP has one table per bind (`hostname` ""), TLS one per bind and listener host name (`*` for
    any).
    """

    bind: Bind
    hostname: str = ""


@dataclass(frozen=True, slots=True)
class Stream:
    """Where connections or datagrams go that are not looked into. `name` is the route's, "" without one;
    `passthrough`: they are TLS, chosen by server name."""

    name: str
    backends: tuple[WeightedBackend, ...]
    passthrough: bool = False


@dataclass(frozen=True, slots=True)
class FilterChain:
    """Connections with this server name (`""`: any) and the route table they use, or the `stream` they
    become. `quic`: HTTP/3, over UDP."""

    hostname: str
    tls: TlsTermination | None
    scope: Scope
    origins: tuple[Origin, ...] = field(default=(), compare=False)
    stream: Stream | None = None
    client: ClientSettings = DEFAULT_CLIENTS
    quic: bool = False


@dataclass(frozen=True, slots=True)
class Listener:
    """One Envoy listener: every Gateway listener of the group that shares the bind. `settings`: what holds
    for all of its chains."""

    bind: Bind
    chains: tuple[FilterChain, ...]
    settings: PortSettings = DEFAULT_CLIENTS.port


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """The routes of one host name (`*`: any) in one table, in order of precedence. Empty: 404, or
    `misdirected` 421."""

    scope: Scope
    domain: str
    routes: tuple[Route, ...]
    misdirected: bool = False
