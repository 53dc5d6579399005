"""`tokenmeter completion bash|zsh|tcsh`: print a script that completes commands, flags and files in a shell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tokenmeter.cli import COMMANDS, _parser
from tokenmeter.cli._flags import Paragraphs
from tokenmeter.errors import MissingExtra

if TYPE_CHECKING:
    import argparse

__all__ = ["add_parser", "run"]

_SHELLS = ("bash", "zsh", "tcsh")
_EPILOG = """\
bash:  source <(tokenmeter completion bash), as a line of ~/.bashrc
zsh:   tokenmeter completion zsh > DIR/_tokenmeter, where DIR is in $fpath
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""

    parser = subparsers.add_parser(
        "completion",
        help=COMMANDS["completion"],
        description="Print a script that completes commands, flags and files in a shell.",
        epilog=_EPILOG,
        formatter_class=Paragraphs,
    )
    parser.add_argument("shell", choices=_SHELLS, help="which shell")


def run(args: argparse.Namespace) -> int:
    """Print the script. Raises MissingExtra without shtab, which writes it."""
    try:
        import shtab
    except ImportError:
        raise MissingExtra("shell completion is written by shtab", "cli") from None
    parser, _ = _parser(None, whole=True)
    for action in _arguments(parser):
        if action.metavar in ("FILE", "FOLDER") or action.dest == "ledger":
            action.complete = shtab.DIRECTORY if action.metavar == "FOLDER" else shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(parser, args.shell))
    return 0


def _arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every argument of a parser and of its subparsers."""
    for action in parser._actions:
        yield action
        if isinstance(action.choices, dict):
            for one in action.choices.values():
                yield from _arguments(one)
