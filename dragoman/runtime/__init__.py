"""The running control plane: the only package that wires everything together.

`ControlPlane` owns source, pipeline, xDS server, admin server and what runs beside them, in one TaskGroup.
`feed` takes changes in, `groups` hands live views to streams, `chronicle` writes down what changed, `gauges`
mirrors state into metrics, `local` looks after an Envoy of one's own. The command line (`cli/run.py`) and
tests are its callers."""

from dragoman.runtime.companions import Companion
from dragoman.runtime.control_plane import ControlPlane
from dragoman.runtime.faults import StartError, cannot_listen
from dragoman.runtime.local import LocalEnvoy

__all__ = ["Companion", "ControlPlane", "LocalEnvoy", "StartError", "cannot_listen"]
