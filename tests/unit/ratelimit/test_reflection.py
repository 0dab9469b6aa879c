"""Reflection: what a client learns of the services, and questions that have no answer.

The messages are read and written here by protobuf, from a description of our own of the few fields there are.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

import grpc.aio
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, strategies as st

from dragoman.ratelimit import reflection, server
from dragoman.ratelimit.transport import base

_KINDS: Final = {"string": 9, "bytes": 12, "int32": 5}
FIELDS: Final = {
    "Request": "1 host string, 3 file string, 4 symbol string, 5 extension Extension, 6 numbers_of string, "
    "7 list string",
    "Extension": "1 type string, 2 number int32",
    "Response": "1 host string, 2 request Request, 4 files Files, 5 numbers Numbers, 6 services Services, "
    "7 error Error",
    "Files": "1 file *bytes",
    "Numbers": "1 base string, 2 number *int32",
    "Services": "1 service *Service",
    "Service": "1 name string",
    "Error": "1 code int32, 2 message string",
}


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="reflection.proto", package="mine", syntax="proto3")
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        if name == "Request":
            message.oneof_decl.add(name="question")
        for field in fields.split(", "):
            number, called, kind = field.split()
            made = message.field.add(name=called, number=int(number), label=3 if kind[0] == "*" else 1)
            if name == "Request" and int(number) > 1:
                made.oneof_index = 0
            kind = kind.removeprefix("*")
            if kind in _KINDS:
                made.type = _KINDS[kind]  # type: ignore[assignment]
            else:
                made.type, made.type_name = 11, f".mine.{kind}"  # type: ignore[assignment]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"mine.{name}")) for name in FIELDS
    }


CLASSES = _classes()
RLS = "envoy.service.ratelimit.v3.RateLimitService"
RLQS = "envoy.service.rate_limit_quota.v3.RateLimitQuotaService"


def ask(**question: Any) -> Any:
    """The answer, decoded; it repeats the question."""
    request = CLASSES["Request"](**question)
    told = reflection.Reflection([f"/{RLS}/ShouldRateLimit"])
    answer = CLASSES["Response"].FromString(told.answer(request.SerializeToString()))
    assert answer.request == request
    return answer


def pool_of(answer: Any) -> descriptor_pool.DescriptorPool:
    """What a client makes of the files: all they build on is there."""
    files = {}
    for each in answer.files.file:
        file = descriptor_pb2.FileDescriptorProto.FromString(each)
        files[file.name] = file
    assert len(files) == len(answer.files.file)
    pool = descriptor_pool.DescriptorPool()

    def add(name: str) -> None:
        file = files.pop(name, None)
        if file is not None:
            for dependency in file.dependency:
                add(dependency)
            pool.Add(file)

    for name in list(files):
        add(name)
    return pool


def test_services_are_listed() -> None:
    names = [each.name for each in ask(list="*").services.service]
    assert names == [
        RLS,
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ]


@pytest.mark.parametrize(
    "symbol", [RLS, f"{RLS}.ShouldRateLimit", "envoy.service.ratelimit.v3.RateLimitRequest"]
)
def test_a_symbols_file_comes_with_all_it_builds_on(symbol: str) -> None:
    answer = ask(symbol=symbol, host="here")
    assert answer.host == "here"
    first = descriptor_pb2.FileDescriptorProto.FromString(answer.files.file[0])
    assert first.name == "envoy/service/ratelimit/v3/rls.proto"
    method = pool_of(answer).FindMethodByName(f"{RLS}.ShouldRateLimit")
    assert method.input_type.fields_by_name["descriptors"].message_type.fields_by_name["entries"]


def test_a_file_is_found_by_its_name() -> None:
    answer = ask(file="envoy/service/rate_limit_quota/v3/rlqs.proto")
    assert pool_of(answer).FindServiceByName(RLQS)


def test_what_is_not_there_is_not_found() -> None:
    for question in (
        {"symbol": "shop.Cart"},
        {"file": "shop.proto"},
        {"numbers_of": "shop.Cart"},
        {"symbol": ""},
    ):
        assert ask(**question).error.code == 5
    assert ask(extension={"type": "google.protobuf.FieldOptions", "number": 1071}).error.code == 5
    assert ask().error.code == 3
    known = ask(numbers_of="google.protobuf.FieldOptions").numbers
    assert (known.base, list(known.number)) == ("google.protobuf.FieldOptions", [])


@given(st.binary(max_size=60))
def test_any_bytes_are_a_question_or_none(request: bytes) -> None:
    told = reflection.Reflection([])
    with contextlib.suppress(base.StatusError):
        CLASSES["Response"].FromString(told.answer(request))


async def test_over_grpc() -> None:
    """As `grpcurl` asks, in both versions."""
    settings = server.Settings(streams=base.Settings())
    running = server.Server(settings)
    await running.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{running.streams_port}") as channel:
            for method in reflection.METHODS:
                call = channel.stream_stream(method)()
                for question in ({"list": ""}, {"symbol": RLQS}):
                    await call.write(CLASSES["Request"](**question).SerializeToString())
                    answer = CLASSES["Response"].FromString(await call.read())
                    if "list" in question:
                        names = [each.name for each in answer.services.service]
                        assert {RLS, RLQS, "grpc.health.v1.Health"} < set(names)
                    else:
                        assert pool_of(answer).FindServiceByName(RLQS)
                await call.done_writing()
    finally:
        await running.stop()
