"""The command line: `tokenmeter COMMAND`, one module of this folder per command.

A command is `cli/<name>.py` with `add_parser(subparsers)` and `run(args) -> int`, and a row in `COMMANDS`. Only the
command's own module is imported, so `tokenmeter --help` starts fast; a command whose module is missing is not listed.
Called by the console script and by `python -m tokenmeter`. Read `main` below, then `price.py` as an example.

An error of the user is a `TokenmeterError` raised by `run`, or argparse's own: it is printed as one line on standard
error, with exit status 2. An interrupt exits with 130; a closed output pipe ends the command silently. Commands that
read JSON Lines share `_jsonl.answer_lines`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import argparse
    from types import ModuleType

__all__ = ["COMMANDS", "main"]

COMMANDS: Final = {
    "count": "count the tokens of a text or of whole requests",
    "price": "price the usage of calls, at any instant",
    "prices": "list, show, compare and check the price book",
    "extract": "read the usage out of vendors' responses",
    "estimate": "the cost range of a request before it is sent",
    "families": "the tokenizer families and the models they count",
    "calibration": "what was learnt from reported usage about counting",
    "budget": "what budgets stand at, and charges by hand",
    "ledger": "what a ledger holds, whether it is sound, and its upkeep",
    "report": "who spent what, from a ledger",
    "top": "who spends what now, while programs write the ledger",
    "reconcile": "why a vendor's bill differs from a ledger",
    "reprice": "what the calls of a ledger cost at another instant or by other prices",
    "compare": "what the calls of a ledger would cost as calls of other models",
    "collector": "price the spans of programs in any language: OTLP in, OTLP with costs out",
    "phoenix": "our prices in Phoenix's own table of models",
    "doctor": "what is installed, instrumented and out of date",
    "demo": "real calls against a local provider server, metered",
    "completion": "a script that completes commands and flags in a shell",
}


def _installed() -> Iterator[str]:
    from importlib.util import find_spec

    return (name for name in COMMANDS if find_spec(f"{__name__}.{name}") is not None)


def _version() -> str:
    from tokenmeter._version import __version__

    return f"tokenmeter {__version__}"


def _parser(command: str | None, *, whole: bool = False) -> tuple[argparse.ArgumentParser, ModuleType | None]:
    """The parser with the name of every command, and the full parser of `command`; and that command's module.

    With `whole` every command's parser is full.
    """
    import importlib

    from tokenmeter.cli._flags import Parser

    parser = Parser(prog="tokenmeter", description="What every LLM call costs, in the currency the vendor bills.")
    parser.add_argument("--version", action="store_true", help="print the version and end")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    module = None
    names = list(_installed())
    for name in names:
        if whole or name == command:
            found = importlib.import_module(f"{__name__}.{name}")
            found.add_parser(commands)
            module = found if name == command else module
        else:
            commands.add_parser(name, help=COMMANDS[name])
    if command is not None and module is None:
        parser.error(f"there is no command {command!r}; {_nearest(command, names)}")
    return parser, module


def _nearest(word: str, names: Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"the commands are {', '.join(names)}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 errors in some lines, 2 bad flags, 130 interrupted."""
    from tokenmeter.cli import _output
    from tokenmeter.errors import TokenmeterError

    arguments = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in arguments if not word.startswith("-")), None)
    _output.prepare()
    try:
        parser, module = _parser(command)
        args: Any = parser.parse_args(arguments)
        if args.version:
            print(_version())
            return 0
        if module is None:
            parser.print_help()
            return 2
        status: int = module.run(args)
        sys.stdout.flush()
    except SystemExit as stop:  # argparse exits this way after --help and after a bad flag
        return stop.code if isinstance(stop.code, int) else 2
    except TokenmeterError as error:
        return _output.fail(str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _output.abandon()
        return 0
    return status
