"""`dragoman`: the entry point and the table of commands.

Commands are imported only when called, and the list of them is kept here, so that `dragoman --help` costs
click and nothing else. The heavy parts (pydantic, grpc, aiohttp, protobuf) are imported inside the commands'
functions for the same reason: every `--help` is quick."""

from __future__ import annotations

import errno
import gc
import importlib
import os
import signal
import sys
import traceback
from typing import Any, Final

import click

import dragoman
from dragoman.cli import failure

COMMANDS: Final[dict[str, str]] = {
    "run": "Run the control plane on files; with --envoy also a local Envoy.",
    "validate": "Say what is wrong with resources, without a cluster.",
    "snapshot": "Show what Envoy gets, or what a change would do to it.",
    "status": "Show which proxy has what, and the status of every object.",
    "rollout": "Show, approve or abort Rollouts.",
    "explain": "Explain an object, or what happens to a request, and why.",
    "bootstrap": "Print an Envoy bootstrap for a node.",
    "ratelimit": "Run the rate-limit service alone, on envoyproxy/ratelimit's files.",
    "authz": "Run the service that looks tokens and API keys up, alone.",
    "version": "Print the versions of Dragoman and of what it stands on.",
}
"""Command -> one line. Each is the module `dragoman.cli.<command>` with a function `command`."""


class _Lazy(click.Group):
    """A group whose commands are modules, imported at first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"dragoman.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise failure.unknown("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            # Not click's 1: nothing was found. What shells say of a command that Ctrl-C has ended.
            raise click.exceptions.Exit(128 + signal.SIGINT) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 fine, 1 findings, 2 usage or internal. Data goes to stdout, talk to stderr.",
)
@click.version_option(
    dragoman.__version__, "-V", "--version", prog_name="dragoman", message="%(prog)s %(version)s"
)
def cli() -> None:
    """A control plane for Envoy: gateway resources in, xDS out.

    \b
    Examples:
      dragoman run examples/01-hello --envoy --demo
      dragoman validate gateway.yaml routes/
      dragoman explain GET http://shop.example/cart -H 'x-env: canary' -f routes/
    """


def main() -> None:
    """The console script."""
    # Most commands make values and are gone before any could be garbage; `run` sees to its own.
    gc.disable()
    # None is ours, and looking for them reads the metadata of everything installed.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    code = _run()
    # Taking the interpreter apart object by object takes longer than many a command; nobody needs it.
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # `>&-`
                stream.flush()
        except BrokenPipeError:
            pass  # `dragoman ... | head`: no error
        except OSError as error:
            code = _unwritten(error)
    os._exit(code)


def _run() -> int:
    """Runs the command; its exit code."""
    try:
        cli()
    except SystemExit as end:
        if isinstance(end.code, int):
            return end.code
        return 0 if end.code is None else 2
    except BrokenPipeError:
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            traceback.print_exc()
            return 2
        return _unwritten(error)
    except Exception:
        traceback.print_exc()
        return 2
    return 0


def _unwritten(error: OSError) -> int:
    failure.Failure(f"the output cannot be written: {error.strerror}").show()
    return 2


if __name__ == "__main__":
    main()
