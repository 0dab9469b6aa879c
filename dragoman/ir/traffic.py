"""What is done about requests that fail, or are made to fail: retries, fallbacks, faults.

Part of `ir.model`, which has all of these names. Percentages are millionths of all requests (`SHARES`).
"""

from __future__ import annotations

from dataclasses import dataclass

from dragoman.ir.backends import ClusterKey


@dataclass(frozen=True, slots=True)
class Retry:
    """`attempts`: tries after the first one, None: 1. `codes`: HTTP statuses that are tried again beside the
    `conditions` (Envoy's words; None: what certainly did not reach the backend, and resets).

    `backoff` is the first pause's upper bound, `backoff_max` that of all. `headers`: responses with one of
    them (name, and value or "" for any) are tried again. `methods` empty: all; what certainly did not reach
    the backend, and gRPC calls, are tried again whatever their method. `wait`: how long the backend may ask
    for (`Retry-After`); None: it is not asked.
    """

    attempts: int | None = None
    codes: tuple[int, ...] = ()
    backoff: float | None = None
    conditions: tuple[str, ...] | None = None
    backoff_max: float | None = None
    headers: tuple[tuple[str, str], ...] = ()
    methods: tuple[str, ...] = ()
    wait: float | None = None
    avoid_hosts: bool = True
    hedge: bool = False
    tell_backend: bool = False
    tell_client: bool = False

    @property
    def tries(self) -> int:
        """Tries after the first one."""
        return 1 if self.attempts is None else max(self.attempts, 0)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response of the gateway's own. `json` (a JSON text), `text` and header values may hold Envoy's format
    commands, `%REQ(x-id)%`; a `%` of their own is doubled."""

    status: int = 503
    headers: tuple[tuple[str, str], ...] = ()
    json: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Fallback:
    """What is done where there is no response of the backend, or one with one of the statuses `codes`:
    another cluster is asked, and where that has none either, `answer` is given."""

    cluster: ClusterKey | None = None
    answer: Answer | None = None
    codes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Delay:
    """`seconds` None: the request says how long. `share`: so many millionths of the requests."""

    seconds: float | None
    share: int


@dataclass(frozen=True, slots=True)
class Abort:
    """Both statuses None: the request says which."""

    share: int
    http: int | None = None
    grpc: int | None = None


@dataclass(frozen=True, slots=True)
class Faults:
    """Failures on purpose, of requests that have all of `headers` (name, and value or "" for any)."""

    delay: Delay | None = None
    abort: Abort | None = None
    headers: tuple[tuple[str, str], ...] = ()
