"""The door to Envoy's messages: what it offers, that it is lazy, and that a built wheel is whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool

from dragoman import proto
from dragoman.proto import extract, packages, stubs
from dragoman.proto.envoy.config.cluster import v3 as cluster
from dragoman.proto.envoy.config.route import v3 as route
from dragoman.proto.google.protobuf import Any, BoolValue, Duration, Struct, UInt32Value, Value

ROOT = Path(__file__).resolve().parents[2]


def python(code: str, cwd: Path = ROOT, executable: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """Runs `code` in a fresh interpreter: what is imported, and when, can only be seen there."""
    return subprocess.run([executable, "-c", code], capture_output=True, text=True, cwd=cwd, check=False)


def source_copy(target: Path) -> Path:
    """The sources as a fresh clone would have them: nothing generated."""
    shutil.copytree(
        ROOT / "dragoman",
        target / "dragoman",
        ignore=lambda folder, names: [
            n
            for n in names
            if n == "__pycache__" or (Path(folder) == ROOT / "dragoman" / "proto" and not n.endswith(".py"))
        ],
    )
    for name in ("pyproject.toml", "hatch_build.py", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, target / name)
    return target


def test_messages_enums_and_nested_types() -> None:
    host = route.VirtualHost(name="shop", domains=["*"])
    host.routes.add().match.prefix = "/"
    assert host.routes[0].match.prefix == "/"
    assert cluster.Cluster.DiscoveryType.Name(cluster.Cluster.EDS) == "EDS"
    assert isinstance(route.VirtualHost(), route.VirtualHost)
    assert isinstance(host, proto.Message)


def test_top_level_enums_and_their_values() -> None:
    from dragoman.proto.envoy.config.core import v3 as core

    assert core.RoutingPriority.Name(core.HIGH) == "HIGH"
    assert core.RoutingPriority.Value("HIGH") == core.HIGH == 1


def test_well_known_types_have_their_methods() -> None:
    duration = Duration()
    duration.FromMilliseconds(1500)
    struct = Struct()
    struct.update({"list": [1, {"deep": True}]})
    packed = Any()
    packed.Pack(duration)
    assert (duration.seconds, duration.nanos) == (1, 500_000_000)
    assert proto.to_dict(struct) == {"list": [1.0, {"deep": True}]}
    assert packed.TypeName() == "google.protobuf.Duration"
    assert BoolValue(value=True).value
    assert UInt32Value(value=7).value == 7


def test_the_same_class_by_every_way_in() -> None:
    import dragoman.proto.envoy.config.route.v3 as by_module
    from dragoman.proto import envoy

    assert by_module.Route is route.Route is envoy.config.route.v3.Route
    assert proto.message("envoy.config.route.v3.Route") is route.Route
    assert proto.message("type.googleapis.com/envoy.config.route.v3.Route") is route.Route


def test_type_url() -> None:
    expected = "type.googleapis.com/envoy.config.route.v3.Route"
    assert proto.type_url(route.Route) == expected
    assert proto.type_url(route.Route()) == expected
    assert proto.type_url("envoy.config.route.v3.Route") == expected


def test_pack_and_unpack() -> None:
    original = route.VirtualHost(name="shop", domains=["a", "b"])
    packed = proto.pack_any(original)
    assert isinstance(packed, Any)
    assert packed.type_url == proto.type_url(original)
    unpacked = proto.unpack_any(packed)
    assert type(unpacked) is route.VirtualHost
    assert unpacked == original


def test_unpack_says_what_is_wrong() -> None:
    with pytest.raises(proto.UnknownNameError, match=r"no message 'acme\.v1\.Rocket'"):
        proto.unpack_any(Any(type_url="type.googleapis.com/acme.v1.Rocket"))
    with pytest.raises(proto.DecodeError):
        proto.unpack_any(Any(type_url=proto.type_url(route.Route), value=b"\xff"))


def test_serialize_is_deterministic() -> None:
    names = [f"key-{i}" for i in range(50)]
    forward = Struct(fields={n: Value(string_value=n) for n in names})
    backward = Struct(fields={n: Value(string_value=n) for n in reversed(names)})
    assert proto.serialize(forward) == proto.serialize(backward)
    assert proto.pack_any(forward).value == proto.serialize(forward)


def test_dicts_expand_any() -> None:
    data = {
        "name": "shop",
        "typed_per_filter_config": {
            "router": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                "suppress_envoy_headers": True,
            }
        },
    }
    host = proto.from_dict(route.VirtualHost, data)
    assert isinstance(host, route.VirtualHost)
    assert proto.to_dict(host) == data
    assert "typedPerFilterConfig" in proto.to_dict(host, proto_names=False)
    assert proto.to_dict(host, defaults=True)["domains"] == []


def test_from_dict_says_which_field_is_wrong() -> None:
    with pytest.raises(ValueError, match="domainz"):
        proto.from_dict(route.VirtualHost, {"name": "shop", "domainz": []})
    assert proto.from_dict(route.VirtualHost, {"domainz": []}, ignore_unknown=True) == route.VirtualHost()


def test_merge_dict_adds_to_what_is_there() -> None:
    host = route.VirtualHost(name="shop")
    assert proto.merge_dict(host, {"domains": ["*"]}) is host
    assert proto.to_dict(host) == {"name": "shop", "domains": ["*"]}


def test_enums_as_ints() -> None:
    eds = cluster.Cluster(type=cluster.Cluster.EDS)
    assert proto.to_dict(eds) == {"type": "EDS"}
    assert proto.to_dict(eds, enums_as_ints=True) == {"type": 3}


def test_unknown_names_are_explained() -> None:
    with pytest.raises(proto.UnknownNameError, match=r"did you mean envoy\.config\.route\.v3\.VirtualHost"):
        proto.message("envoy.config.route.v3.VirtualHos")
    with pytest.raises(AttributeError, match=r"has no 'VirtualHos'; did you mean VirtualHost"):
        _ = route.VirtualHos  # type: ignore[attr-defined]
    with pytest.raises(ModuleNotFoundError):
        import dragoman.proto.envoy.nowhere  # type: ignore[import-not-found]  # noqa: F401
    with pytest.raises(ImportError, match="Nothing"):
        from dragoman.proto.envoy.config.route.v3 import Nothing  # type: ignore[attr-defined]  # noqa: F401


def test_pool_is_private_and_complete() -> None:
    files = packages.index().files
    assert 530 <= len(files) <= 560
    for name in ("envoy.config.bootstrap.v3.Bootstrap", "envoy.service.discovery.v3.DeltaDiscoveryRequest"):
        assert proto.pool().FindMessageTypeByName(name).full_name == name
        with pytest.raises(KeyError):
            descriptor_pool.Default().FindMessageTypeByName(name)
    ads = proto.pool().FindServiceByName("envoy.service.discovery.v3.AggregatedDiscoveryService")
    assert "DeltaAggregatedResources" in ads.methods_by_name


def test_every_name_of_every_package_loads() -> None:
    import importlib

    for package in packages.index().names:
        module = importlib.import_module(f"{packages.ROOT}.{package}")
        for name in packages._members(package):
            assert getattr(module, name) is not None


def test_dir_lists_names_and_packages() -> None:
    from dragoman.proto.envoy import config

    assert "VirtualHost" in dir(route)
    assert "route" in dir(config)


def test_importing_builds_nothing() -> None:
    code = """
import sys, dragoman.proto
from dragoman.proto import packages
assert packages._index is None, "read the descriptors"
from dragoman.proto.envoy.config.route import v3
import inspect; inspect.unwrap(v3); hasattr(v3, "__wrapped__")
assert not packages.is_built(), "built the pool"
v3.Route
assert packages.is_built()
assert len(packages._added) < 60, "took in more than what a route needs"
from dragoman import proto
from dragoman.proto.google.protobuf import Any, Struct
proto.from_dict(Struct, {"a": "b"})
assert len(packages._added) < 60, "took in everything for data without types"
proto.message("envoy.config.bootstrap.v3.Bootstrap.StaticResources")
few = len(packages._added)
packed = proto.from_dict(Any, {"@type": "type.googleapis.com/envoy.config.trace.v3.ZipkinConfig"})
assert few < len(packages._added) == len(packages.index().files)
"""
    finished = python(code)
    assert finished.returncode == 0, finished.stderr


def test_importing_dragoman_imports_no_protobuf() -> None:
    finished = python("import sys, dragoman; sys.exit('google.protobuf' in sys.modules)")
    assert finished.returncode == 0, finished.stderr


def test_a_checkout_that_was_never_built_says_what_to_run(tmp_path: Path) -> None:
    source_copy(tmp_path)
    finished = python("from dragoman.proto.envoy.config.route import v3", cwd=tmp_path)
    assert finished.returncode == 1
    assert "ImportError" in finished.stderr
    assert "pip install -e ." in finished.stderr


def test_stubs_cover_what_run_time_offers() -> None:
    if not stubs.STAMP.exists():
        pytest.skip("not a development install")
    for package in packages.index().names:
        assert (stubs.HERE.joinpath(*package.split(".")) / "__init__.pyi").is_file(), package


def test_stub_imports_are_moved() -> None:
    given = (
        "from a.b import c_pb2 as _c\nfrom google.protobuf import message as _message\nimport d_pb2 as _d\n"
    )
    assert stubs.with_our_imports(given) == (
        "from dragoman.proto._stubs.a.b import c_pb2 as _c\n"
        "from google.protobuf import message as _message\n"
        "from dragoman.proto._stubs import d_pb2 as _d\n"
    )


@pytest.mark.envoy
def test_extraction_takes_envoys_own_copies(envoy_binary: Path) -> None:
    files = extract.scan(envoy_binary)
    assert "envoy/config/route/v3/route_components.proto" in files
    assert not any(name.startswith(extract._INTERNAL) for name in files)
    # gRPC's copies have json_name; none of them may get in.
    assert not any(b"\x52\x0cvirtualHosts" in body for body in files.values())
    assert extract.descriptor_set(envoy_binary) == extract.TARGET.read_bytes()


def test_a_binary_that_is_not_envoy_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"\x7fELF" + bytes(4096))
    with pytest.raises(extract.ExtractionError, match="does not look like Envoy"):
        extract.descriptor_set(other)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_built_wheel_works_in_a_fresh_environment(tmp_path: Path) -> None:
    source = source_copy(tmp_path / "source")
    wheels = tmp_path / "wheels"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "-w", str(wheels), str(source)], check=True)
    (wheel,) = wheels.glob("dragoman-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "dragoman/proto/descriptors.binpb" in names
    assert "dragoman/py.typed" in names
    assert not [n for n in names if n.endswith(".pyi")]

    fresh = tmp_path / "venv"
    # The pip that is there installs into it: putting one of its own there takes longer than all the rest.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(fresh)], check=True)
    fresh_python = str(fresh / "bin" / "python")
    # Only what the door needs: the other dependencies would make this a test of the network.
    install = [*pip, "--python", fresh_python, "install", "--quiet", "--no-deps"]
    subprocess.run([*install, "protobuf>=7.34", str(wheel)], check=True)
    code = "from dragoman.proto.envoy.config.route import v3; print(v3.VirtualHost(name='x').name)"
    finished = subprocess.run(
        [fresh_python, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )
    assert finished.stdout == "x\n", finished.stderr
