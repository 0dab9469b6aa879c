"""Settings: a YAML file, `DRAGOMAN_*` environment variables, and flags, in that order of precedence from
low to high.

Read once at start by `runtime` and the command line. Every field has a default that is safe on a laptop:
listeners bind to loopback, nothing is open to the network unless told otherwise.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args, get_origin

import pydantic
import yaml

from dragoman import endpoints as places

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

Port = Annotated[int, pydantic.Field(strict=True, ge=0, le=65535)]
Size = Annotated[int, pydantic.Field(strict=True, gt=0)]
Seconds = Annotated[float, pydantic.Field(strict=True, ge=0, allow_inf_nan=False)]
Endpoint = Annotated[str, pydantic.Field(pattern=places.PATTERN)]
GatewayPattern = Annotated[str, pydantic.Field(pattern=r"^(\*|[^\s/,*]+/(\*|[^\s/,*]+))$")]


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, validate_default=False)


class NodeRule(_Section):
    """One line of the table that says which node gets which group. The first rule whose every given
    condition holds wins.

    `id`, `cluster`, `san` and `metadata` values are shell-style patterns (`edge-*`). `gateways` are
    `namespace/name`, `namespace/*` or `*`; empty takes them from the node (metadata `gateways` or
    `gateway`, else its cluster). `secrets` False: the group gets no certificates over SDS.
    """

    id: str = ""
    cluster: str = ""
    san: str = ""
    metadata: dict[str, str] = {}
    gateways: tuple[GatewayPattern, ...] = ()
    secrets: bool = True
    reject: bool = False


class XdsTls(_Section):
    """TLS on the xDS port; with `client_ca` clients must show a certificate of it. Files are read again
    when they change."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


class Throttle(_Section):
    """How many new streams there may be: `rate` a second (0: no limit) after a burst of `burst`, and
    `building` at once that do not have their first configuration yet; one that has not answered within
    `patience` seconds counts no more. A stream that would wait for more than `wait` seconds is turned away
    with RESOURCE_EXHAUSTED."""

    rate: Seconds = 500.0
    burst: Size = 500
    building: Size = 200
    patience: Seconds = 5.0
    wait: Seconds = 10.0


class Xds(_Section):
    """The xDS server. Durations in seconds, sizes in bytes."""

    address: str = "127.0.0.1"
    port: Port = 18000
    tls: XdsTls | None = None
    nodes: tuple[NodeRule, ...] = ()
    keepalive_time: Seconds = 30.0
    keepalive_timeout: Seconds = 10.0
    max_connection_age: Seconds = 0.0
    max_connection_age_grace: Seconds = 30.0
    max_message: Size = 16 * 1024 * 1024
    warming_timeout: Seconds = 20.0
    drain: Seconds = 2.0
    group_grace: Seconds = 60.0
    throttle: Throttle = Throttle()


class Gateways(_Section):
    """Where Envoy listens for Gateways that name no address. `per-gateway`: each gets a loopback address
    of its own (127.x.y.z). `scoped_hosts`: from how many host names on a listener's route table is cut into
    scopes, so that a change costs Envoy the same whatever their number (docs/performance.md); 0: never.
    `lazy_clusters`: Envoys that speak delta fetch the clusters of routes at the first request for them, which
    needs the control plane then (docs/scale.md). `discovered_chains`: Envoys that speak delta get the filter
    chain of each TLS host as a resource of its own (docs/scale.md)."""

    address: str = "127.0.0.1"
    addresses: Literal["shared", "per-gateway"] = "shared"
    controller: str = "dragoman.dev/gateway-controller"
    scoped_hosts: Annotated[int, pydantic.Field(strict=True, ge=0)] = 100
    lazy_clusters: bool = False
    discovered_chains: bool = False


class Admin(_Section):
    address: str = "127.0.0.1"
    port: Port = 18001


RATELIMIT_PORT: Final = 18002
RATELIMIT_STREAMS_PORT: Final = 18003
"""What a configuration shows where no service listens yet."""


class Trust(_Section):
    """TLS from Envoys to one of our services: `ca` signed its certificate, which has the name `name`
    (default: the address by which Envoys reach it, of the first endpoint if there are several).
    `certificate` and `key` are what Envoys show to it. The control plane reads the files, again when they
    change."""

    ca: Path
    name: str = ""
    certificate: Path | None = None
    key: Path | None = None

    @pydantic.model_validator(mode="after")
    def _pair(self) -> Trust:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("`certificate` and `key` go together")
        return self


class RateLimit(_Section):
    """The rate-limit service inside `dragoman run`. `port`, and `streams_port` for limits that are quotas: 0
    is a free one, of which Envoys hear by CDS. `advertised`: the address by which Envoys reach it, where that
    is not `address`. `store`: `memory`, or Redis as in `dragoman ratelimit --store`; `store_timeout` in
    seconds. `instances`: how many control planes share that Redis. `metrics_port`: its own metrics and health
    over HTTP, besides those on the admin port. `tls`: of its ports, which then needs `trust`.
    `enabled` False: Envoys ask whoever answers at that address and port.
    `endpoints` (`HOST:PORT`, `unix:/PATH`): services that run elsewhere and are asked instead, in turn;
    `stream_endpoints`: where they take streams. `go`: limits are served in the form of envoyproxy/ratelimit
    too. `traces`: the collector (OTLP) of the spans of decisions.
    """

    enabled: bool = True
    address: str = "127.0.0.1"
    port: Port = 0
    streams_port: Port = 0
    advertised: str = ""
    store: str = "memory"
    store_timeout: Annotated[float, pydantic.Field(strict=True, ge=0.001, le=0.4)] = 0.05
    instances: Size = 1
    metrics_port: Port | None = None
    tls: XdsTls | None = None
    trust: Trust | None = None
    endpoints: tuple[Endpoint, ...] = ()
    stream_endpoints: tuple[Endpoint, ...] = ()
    go: bool = False
    traces: Endpoint | Literal[""] = ""

    @property
    def inside(self) -> bool:
        """Whether the service runs in this process."""
        return self.enabled and not self.endpoints

    @property
    def reached(self) -> str:
        """The address that Envoys are told."""
        return self.advertised or self.address

    @property
    def asked(self) -> tuple[tuple[str, int], ...]:
        """`endpoints`, taken apart: (address, port); of sockets the port is 0."""
        return tuple(map(places.split, self.endpoints))

    @property
    def streamed(self) -> tuple[tuple[str, int], ...]:
        """`stream_endpoints`, taken apart."""
        return tuple(map(places.split, self.stream_endpoints))

    @pydantic.model_validator(mode="after")
    def _reachable(self) -> RateLimit:
        _check_reached(self.reached)
        places.check("endpoints", self.endpoints)
        places.check("stream_endpoints", self.stream_endpoints)
        unnamed = self.trust is not None and not self.trust.name
        if unnamed and self.endpoints and self.endpoints[0].startswith("unix:"):
            raise ValueError("`trust.name` should say the certificate's name: a socket has none")
        if not self.enabled and not self.port and not self.endpoints:
            raise ValueError("`port` should say where the service listens that is not ours")
        if self.inside and self.tls is not None:
            if self.trust is None:
                raise ValueError("with `tls`, `trust` should say whom Envoys are to believe")
            if self.tls.client_ca is not None and self.trust.certificate is None:
                raise ValueError("with `tls.client_ca`, `trust.certificate` should say what Envoys show")
        return self


AUTHZ_PORT: Final = 18004
"""What a configuration shows where no service listens yet."""


class Authz(_Section):
    """The service inside `dragoman run` that looks credentials up: tokens at their issuer, API keys in Redis.
    It starts when a policy first needs it. `port` 0: a free one, of which Envoys hear by CDS. `advertised`:
    the address by which Envoys reach it, where that is not `address`. `store`: the Redis of API keys, as in
    `dragoman authz --store`; `store_timeout` in seconds. `cache_entries`: tokens that are remembered for each
    policy. `metrics_port`: its own metrics and health over HTTP; none without. `enabled` False: Envoys ask
    whoever answers at that address and port.
    `tls`: of its port; `trust`: what Envoys are told of that. Beyond loopback there has to be TLS, since
    credentials pass there, unless `plaintext` says that something else keeps them safe.
    """

    enabled: bool = True
    address: str = "127.0.0.1"
    port: Port = 0
    advertised: str = ""
    store: str = ""
    store_timeout: Annotated[float, pydantic.Field(strict=True, ge=0.001, le=5)] = 0.1
    cache_entries: Size = 20_000
    metrics_port: Port | None = None
    tls: XdsTls | None = None
    trust: Trust | None = None
    plaintext: bool = False

    @property
    def reached(self) -> str:
        """The address that Envoys are told."""
        return self.advertised or self.address

    @pydantic.model_validator(mode="after")
    def _reachable(self) -> Authz:
        _check_reached(self.reached)
        if not self.enabled and not self.port:
            raise ValueError("`port` should say where the service listens that is not ours")
        return self


def _check_reached(text: str) -> None:
    """Raises ValueError for what Envoys could not be told as an address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("`address` and `advertised` should be IP addresses") from None
    if address.is_unspecified:
        raise ValueError("`advertised` should say which address Envoys are to ask")


class Log(_Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Batch(_Section):
    """`window`: how long changes may be collected while one is in flight; `slice`: CPU seconds before the
    event loop gets its turn."""

    window: Seconds = 0.5
    slice: Seconds = 0.02


class State(_Section):
    """What must survive a restart: how far rollouts are. `directory` None: `$STATE_DIRECTORY` (systemd), else
    `dragoman` below `$XDG_STATE_HOME` or `~/.local/state`. Nothing is written before there is a Rollout."""

    directory: Path | None = None


class Fetching(_Section):
    """What objects refer to by URL (keys of token issuers): read again every `interval` seconds, with at
    most `timeout` seconds and `max_bytes` for an answer. At start everything waits `patience` seconds for
    the first answers."""

    interval: Seconds = 600.0
    timeout: Seconds = 5.0
    max_bytes: Size = 1024 * 1024
    patience: Seconds = 5.0


class Settings(_Section):
    xds: Xds = Xds()
    gateways: Gateways = Gateways()
    admin: Admin = Admin()
    ratelimit: RateLimit = RateLimit()
    authz: Authz = Authz()
    log: Log = Log()
    batch: Batch = Batch()
    state: State = State()
    fetching: Fetching = Fetching()


def load(
    path: Path | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings from file, environment (`DRAGOMAN_XDS_PORT=19000`, `__` never needed) and flags
    (`{"xds.port": 19000}`). A variable that is set to nothing is not set, and neither is a flag that is None.

    Raises `ValueError` with one line per mistake, `OSError` where the file cannot be read.
    """
    data = {} if path is None else _file(path)
    problems: list[str] = []
    said: dict[tuple[str, str], str] = {}
    for name, section, field, value in _variables(environment, problems):
        said[section, field] = name
        _put(data, section, field, value)
    for dotted, value in (flags or {}).items():
        if value is not None:
            section, field = dotted.split(".")
            said.pop((section, field), None)
            _put(data, section, field, value)
    settings = None
    try:
        settings = Settings.model_validate(data)
    except pydantic.ValidationError as failure:
        problems += [_problem(detail, said) for detail in failure.errors(include_url=False)]
    if problems or settings is None:
        raise ValueError("\n".join(problems)) from None
    return settings


def _file(path: Path) -> dict[str, Any]:
    try:
        data = _parse(path.read_text("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8") from None
    except yaml.YAMLError as failure:
        raise ValueError(f"{path}{_place(failure)}: {_words(failure)}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ValueError(f"{path}: settings are a mapping")
    # A section of which everything is commented out.
    return {section: {} if value is None else value for section, value in data.items()}


class _Loader(yaml.SafeLoader):
    """Takes no key twice: of two ports, the one that was not meant might win."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):  # other keys are refused when they are made
                if key.value in seen:
                    problem = f"the key `{key.value}` stands here for the second time"
                    raise _Repeated(problem=problem, problem_mark=key.start_mark)
                seen.add(key.value)
        return node


class _Repeated(yaml.MarkedYAMLError):
    """Valid YAML, but not to us."""


def _parse(text: str) -> Any:
    """Plain data. Raises `yaml.YAMLError`, also for what PyYAML itself stumbles over: dates and numbers that
    are none, and nesting without end.
    """
    try:
        return yaml.load(text, _Loader)
    except (ValueError, RecursionError) as failure:
        raise yaml.YAMLError from failure


def _words(failure: yaml.YAMLError) -> str:
    return str(failure.problem) if isinstance(failure, _Repeated) else "is not valid YAML"


def _place(failure: yaml.YAMLError) -> str:
    mark = getattr(failure, "problem_mark", None)
    return f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""


def _put(data: dict[str, Any], section: str, field: str, value: Any) -> None:
    if isinstance(data.setdefault(section, {}), dict):  # else it is said that the section is no mapping
        data[section][field] = value


def _variables(environment: Mapping[str, str], problems: list[str]) -> Iterator[tuple[str, str, str, Any]]:
    """Name, section, field and value of each variable that is a setting."""
    for section, about in Settings.model_fields.items():
        fields = _fields(about.annotation)
        prefix = f"DRAGOMAN_{section}_".upper()
        for name in sorted(name for name in environment if name.startswith(prefix)):
            text, field = environment[name], name.removeprefix(prefix).lower()
            if not text or _SERVICE_LINK.fullmatch(f"{name}={text}"):
                continue
            if field not in fields:
                hint = _near(name, [f"{prefix}{known}".upper() for known in fields])
                problems.append(f"settings: {name}: there is no such setting{hint}")
                continue
            if fields[field].annotation is str or get_origin(fields[field].annotation) is Literal:
                yield name, section, field, text  # as it is: to YAML `::` is a mapping and `off` a boolean
                continue
            try:
                yield name, section, field, _parse(text)
            except yaml.YAMLError as failure:
                problems.append(f"settings: {name}: {_words(failure)}")


# What Kubernetes puts into every container for a Service named `dragoman-xds` or `dragoman-admin`.
_SERVICE_LINK = re.compile(
    r"DRAGOMAN_\w+?_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_\w+)?)=.*"
    r"|DRAGOMAN_\w+?_PORT=(?:tcp|udp|sctp)://.*"
)


def _problem(detail: ErrorDetails, said: Mapping[tuple[str, str], str]) -> str:
    """One mistake in words: where, what, and the name that was meant."""
    place = detail["loc"]
    words = (
        detail["msg"]
        .removeprefix("Value error, ")
        .replace("Input should", "should")
        .replace("Field required", "is missing")
    )
    if detail["type"] == "extra_forbidden":
        words = f"there is no such setting{_near(str(place[-1]), _siblings(place))}"
    elif detail["type"] == "string_pattern_mismatch":
        words = "should be `namespace/name`, `namespace/*` or `*`"
        if "endpoints" in map(str, place):
            words = "should be `HOST:PORT` or `unix:/PATH`"
    elif detail["type"] == "model_type":
        words = "should be a mapping"
    variable = said.get((str(place[0]), str(place[1]))) if len(place) > 1 else None
    return f"settings: {'.'.join(map(str, place))}: {words}" + (f" (from {variable})" if variable else "")


def _near(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), 1, 0.6)
    return f"; did you mean `{found[0]}`?" if found else f"; there are {', '.join(known)}"


def _siblings(place: tuple[int | str, ...]) -> list[str]:
    """The names that may stand where the last of a place's does."""
    shape: Any = Settings
    for step in place[:-1]:
        if isinstance(step, str):
            shape = _fields(shape)[step].annotation
    return list(_fields(shape))


def _fields(shape: Any) -> dict[str, FieldInfo]:
    """The fields of a section; of those that may be left out or repeated as well."""
    if isinstance(shape, type) and issubclass(shape, pydantic.BaseModel):
        return shape.model_fields
    return next((found for inner in get_args(shape) if (found := _fields(inner))), {})
