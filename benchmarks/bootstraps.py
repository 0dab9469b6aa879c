"""The bootstrap that users give their Envoys: what the command writes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.harness import net


def written(xds_port: int, *flags: str) -> dict[str, Any]:
    """By `dragoman bootstrap`, for the control plane on that port and all Gateways."""
    command = [sys.executable, "-m", "dragoman", "bootstrap", "--xds", f"127.0.0.1:{xds_port}"]
    command += ["--gateway", "*", "--admin-port", str(net.free_port()), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    made: dict[str, Any] = json.loads(done.stdout)
    return made
