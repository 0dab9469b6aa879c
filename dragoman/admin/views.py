"""Plain data out of the program's values: objects with their status, diagnostics, resources, proxies.

What the admin API answers and what the command line shows offline are made by the same functions, so that `-o
json` means the same thing in both. Secrets never pass: sensitive resources show a fingerprint instead of
their body."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from dragoman.refs import Ref
from dragoman.resource import SHORT, TYPES, Resource

if TYPE_CHECKING:
    from dragoman.diagnostics import Diagnostic, Locate
    from dragoman.graph.pipeline import Pipeline
    from dragoman.translators.base import Status
    from dragoman.xds.ledger import Ledger, TypeState
    from dragoman.xds.snapshot import Snapshot

Data = dict[str, Any]

_GOOD_WHEN_FALSE: Final = frozenset(
    {"Conflicted", "Held", "OverlappingTLSConfig", "PartiallyInvalid", "RolledBack"}
)
"""Condition types that speak of trouble when they are True."""


def identity(ref: Ref) -> Data:
    """group, kind, namespace, name."""
    return {"group": ref.group, "kind": ref.kind, "namespace": ref.namespace, "name": ref.name}


def ref_of(data: Mapping[str, Any]) -> Ref:
    """The opposite of `identity`."""
    return Ref(data["group"], data["kind"], data["namespace"], data["name"])


def objects(refs: Iterable[Ref], statuses: Mapping[Ref, Status]) -> list[Data]:
    """Every object by kind, namespace and name, with its `status` (left out where its kind has none)."""
    out: list[Data] = []
    for ref in sorted(set(refs) | statuses.keys(), key=lambda r: (r.kind, r.namespace, r.name, r.group)):
        item = identity(ref)
        if ref in statuses:
            item["status"] = dict(statuses[ref].body)
        out.append(item)
    return out


def conditions(status: Mapping[str, Any]) -> list[Data]:
    """The conditions of one object, flattened: `of` says what they are about (``, `listener http`,
    `parent shop/edge`)."""
    found = [{"of": "", **condition} for condition in status.get("conditions", ())]
    for listener in status.get("listeners", ()):
        found += [{"of": f"listener {listener['name']}", **c} for c in listener.get("conditions", ())]
    for parent in (*status.get("parents", ()), *status.get("ancestors", ())):
        ref = parent.get("parentRef") or parent.get("ancestorRef") or {}
        name = "/".join(ref[key] for key in ("namespace", "name", "sectionName") if ref.get(key))
        found += [{"of": f"parent {name}", **c} for c in parent.get("conditions", ())]
    return found


def holds(condition: Mapping[str, Any]) -> bool:
    """Whether a condition says something good."""
    return (condition["status"] == "True") is not (condition["type"] in _GOOD_WHEN_FALSE)


def verdicts(status: Mapping[str, Any]) -> list[tuple[bool, str]]:
    """(good, words) of a status in short, the bad ones first: `not Accepted (NoMatchingParent)`."""
    good: dict[str, None] = {}
    bad: dict[str, None] = {}
    for condition in conditions(status):
        kind = condition["type"]
        if holds(condition):
            good[kind] = None
        else:
            about = f" {condition['of']}" if condition["of"].startswith("listener") else ""
            bad[f"{'' if kind in _GOOD_WHEN_FALSE else 'not '}{kind} ({condition['reason']}){about}"] = None
    spoilt = {words.removeprefix("not ").partition(" ")[0] for words in bad}
    quiet = spoilt | _GOOD_WHEN_FALSE
    return [(False, words) for words in bad] + [(True, kind) for kind in good if kind not in quiet]


def resources(
    snapshot: Snapshot, *, types: Iterable[str] = TYPES, name: str = "", bodies: bool = False
) -> list[Data]:
    """The resources of a snapshot in the order in which they are sent. `types` are type URLs."""
    wanted = set(types)
    return [
        resource(item, body=bodies)
        for type_url in TYPES
        if type_url in wanted
        for item in sorted(snapshot.resources(type_url).values(), key=lambda r: r.name)
        if not name or item.name == name
    ]


def resource(item: Resource, *, body: bool) -> Data:
    """One resource: type, name, version, size in bytes, what it refers to, and its decoded body on demand."""
    out: Data = {
        "type": SHORT.get(item.type_url, item.type_url),
        "name": item.name,
        "version": item.version,
        "size": item.size,
        "refers": {SHORT.get(url, url): sorted(names) for url, names in item.refs.items() if names},
    }
    if body:
        out["body"] = decoded(item)
    return out


def decoded(item: Resource) -> Data:
    """The message as JSON data; of keys nothing, of certificates a fingerprint."""
    from dragoman.envoy import dump

    return dump.to_dict(item)


def proxies(ledger: Ledger) -> list[Data]:
    """Every connected stream: who, for which group, and per type SYNCED, STALE (an answer is awaited, or
    something keeps the newest from being sent: `detail`), NACK or NOT_SENT.

    `age` is how long it has been so, `connected` how long the stream lasts, both in seconds.
    """
    now = ledger.clock()
    return [
        {
            "node": proxy.node.id,
            "cluster": proxy.node.cluster,
            "group": proxy.group,
            "address": proxy.peer.address,
            "service": proxy.service,
            "form": proxy.form.name.lower(),
            "envoy": proxy.node.version,
            "connected": round(now - proxy.connected_at, 3),
            "types": {
                SHORT.get(url, url): _type_state(state, now) for url, state in sorted(proxy.types.items())
            },
        }
        for proxy in ledger.proxies()
    ]


def _type_state(state: TypeState, now: float) -> Data:
    word = "NACK" if state.error else state.status.value
    since = {"NACK": state.error_at, "STALE": state.sent_at, "SYNCED": state.acked_at}.get(word, 0.0)
    out: Data = {
        "state": word,
        "age": round(now - since, 3) if since else None,
        "version": state.version_acked,
        "sent": state.responses,
        "acked": state.acks,
        "rejected": state.nacks,
        "bytes": state.bytes_sent,
    }
    if state.error:
        out |= {"detail": state.error.strip(), "names": list(state.error_names)}
    elif state.waits:
        out["detail"] = state.waits
    return out


def diagnostics(found: Iterable[Diagnostic], locate: Locate) -> list[Data]:
    """Findings in the form of `diagnostics.data`."""
    from dragoman.diagnostics import data

    return data.report(found, locate)


def explain_request(
    pipeline: Pipeline, group: str, method: str, url: str, headers: Iterable[str], claims: Iterable[str] = ()
) -> Data:
    """What happens to a request (`explain.Explanation.data`). `headers` are `name: value`, `claims` of its
    token `name=value`.

    Raises ValueError for a URL, a header or a claim that is none.
    """
    from dragoman import explain

    pairs: list[tuple[str, str]] = []
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise ValueError(f"`{header}` is no header: expected `name: value`")
        pairs.append((name.strip(), value.strip()))
    said: list[tuple[str, str]] = []
    for claim in claims:
        name, equals, value = claim.partition("=")
        if not equals or not name:
            raise ValueError(f"`{claim}` is no claim: expected `name=value`")
        said.append((name, value))
    asked = replace(explain.parse(method, url, pairs), claims=tuple(said))
    return explain.explain_request(pipeline.view(group), asked, pipeline.locate).data
