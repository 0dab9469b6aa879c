"""`dragoman bootstrap`: what an Envoy elsewhere starts with to find this control plane."""

from __future__ import annotations

from pathlib import Path
