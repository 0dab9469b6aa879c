"""CSDS: tells a gRPC client what each proxy was sent and what it said to it, from the ledger.

The management server's view: SYNCED, STALE, NOT_SENT, ERROR per resource. Contents of sensitive resources are
never in an answer. Whoever may open an xDS stream may ask; once a rule of the settings goes by the
certificate, an answer is limited to the proxies whose Gateways lie within the caller's group.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

import grpc
import re2

from dragoman import config, proto
from dragoman.proto.google.protobuf import Any as AnyMessage
from dragoman.resource import SECRET, Resource
from dragoman.xds import auth, groups, wire
from dragoman.xds.csds_messages import SERVICE, messages
from dragoman.xds.ledger import Ledger, Status, Stream, TypeState
from dragoman.xds.types import Node

_NOWHERE: Final = Node("")


def handler(ledger: Ledger, rules: Sequence[config.NodeRule]) -> Any:
    """The service's generic handler."""

    async def fetch(data: bytes, context: Any) -> bytes:
        return await _answer(ledger, rules, data, context)

    async def stream(requests: AsyncIterator[bytes], context: Any) -> None:
        async for data in requests:
            await context.write(await _answer(ledger, rules, data, context))

    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "FetchClientStatus": grpc.unary_unary_rpc_method_handler(fetch),
            "StreamClientStatus": grpc.stream_stream_rpc_method_handler(stream),
        },
    )


async def _answer(ledger: Ledger, rules: Sequence[config.NodeRule], data: bytes, context: Any) -> bytes:
    try:
        request = messages().request.FromString(data)
    except proto.DecodeError:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a ClientStatusRequest")
        raise
    bound = groups.ALL
    if any(rule.san for rule in rules):
        node = wire.node_of(request.node) if request.HasField("node") else _NOWHERE
        admission = groups.resolve(rules, node, auth.peer_of(context))
        if isinstance(admission, groups.Refusal):
            await context.abort(grpc.StatusCode[admission.code], admission.message)
            raise AssertionError("abort returned")
        bound = admission.group
    try:
        answer: bytes = respond(ledger, request, bound).SerializeToString()
    except re2.error as failure:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"not a regular expression: {_words(failure)}")
        raise
    return answer


def _words(failure: Exception) -> str:
    return b" ".join(arg for arg in failure.args if isinstance(arg, bytes)).decode(errors="replace")


def respond(ledger: Ledger, request: Any, bound: str = groups.ALL) -> Any:
    """The ClientStatusResponse for a ClientStatusRequest, about proxies within the group `bound`.

    Raises `re2.error` if a matcher's expression is none.
    """
    response = messages().response()
    for stream in sorted(ledger.streams(), key=lambda stream: (stream.node.id, stream.id)):
        if not groups.covers(bound, stream.group):
            continue
        matchers = request.node_matchers
        if matchers and not any(_node_matches(matcher, stream.node) for matcher in matchers):
            continue
        client = response.config.add()
        client.node.id = stream.node.id
        client.node.cluster = stream.node.cluster
        client.node.user_agent_name = stream.node.user_agent
        client.node.user_agent_version = stream.node.version
        if stream.node.metadata:
            proto.merge_dict(client.node.metadata, stream.node.metadata)
        for entry in _entries(stream, contents=not request.exclude_resource_contents):
            client.generic_xds_configs.append(entry)
    return response


def _entries(stream: Stream, *, contents: bool) -> Iterator[Any]:
    if stream.session is None:
        return
    for type_url, sub in stream.session.streams.items():
        state = stream.types[type_url]
        for name, known, status in sub.holdings():
            words = sub.nacked.get(name, "")
            yield _entry(type_url, name, known, Status[status], state, words, contents=contents)


def _entry(
    type_url: str,
    name: str,
    known: Resource | str | None,
    status: Status,
    state: TypeState,
    words: str,
    *,
    contents: bool,
) -> Any:
    entry = messages().generic(type_url=type_url, name=name)
    entry.config_status = messages().status[status.value]
    if known is not None:
        entry.version_info = known if isinstance(known, str) else known.version
    if state.sent_at and status is not Status.NOT_SENT:
        entry.last_updated.FromNanoseconds(int(state.sent_at * 1e9))
    if contents and isinstance(known, Resource) and not known.sensitive and type_url != SECRET:
        entry.xds_config.CopyFrom(AnyMessage(type_url=type_url, value=known.payload))
    if status is Status.ERROR:
        entry.error_state.details = words
        entry.error_state.version_info = state.error_version
        entry.error_state.last_update_attempt.FromNanoseconds(int(state.error_at * 1e9))
    return entry


# --- NodeMatcher
# ---------------------------------------------------------------------------------------------


def _node_matches(matcher: Any, node: Node) -> bool:
    if matcher.HasField("node_id") and not _text_matches(matcher.node_id, node.id):
        return False
    return all(_struct_matches(wanted, node.metadata) for wanted in matcher.node_metadatas)


def _text_matches(matcher: Any, value: str) -> bool:
    kind = matcher.WhichOneof("match_pattern")
    if kind == "safe_regex":
        options = re2.Options()
        options.log_errors = False
        return re2.compile(matcher.safe_regex.regex, options).fullmatch(value) is not None
    if kind is None or kind == "custom":
        return False
    wanted: str = getattr(matcher, kind)
    if matcher.ignore_case:
        wanted, value = wanted.lower(), value.lower()
    match kind:
        case "exact":
            return value == wanted
        case "prefix":
            return value.startswith(wanted)
        case "suffix":
            return value.endswith(wanted)
        case "contains":
            return wanted in value
        case _:
            return False


def _struct_matches(matcher: Any, metadata: Any) -> bool:
    for step in matcher.path:
        metadata = metadata.get(step.key) if isinstance(metadata, dict) else None
    return _value_matches(matcher.value, metadata)


def _value_matches(matcher: Any, value: Any) -> bool:
    match matcher.WhichOneof("match_pattern"):
        case "null_match":
            return value is None
        case "double_match":
            wanted = matcher.double_match
            if isinstance(value, bool) or not isinstance(value, int | float):
                return False
            if wanted.WhichOneof("match_pattern") == "range":
                return bool(wanted.range.start <= value < wanted.range.end)
            return bool(value == wanted.exact)
        case "string_match":
            return isinstance(value, str) and _text_matches(matcher.string_match, value)
        case "bool_match":
            return isinstance(value, bool) and value == bool(matcher.bool_match)
        case "present_match":
            return (value is not None) == bool(matcher.present_match)
        case "list_match":
            one = matcher.list_match.one_of
            return isinstance(value, list) and any(_value_matches(one, item) for item in value)
        case "or_match":
            return any(_value_matches(one, value) for one in matcher.or_match.value_matchers)
        case _:
            return False
