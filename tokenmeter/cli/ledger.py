"""`tokenmeter ledger ACTION FILE`: what a ledger holds, whether it is sound, and its upkeep."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenmeter.cli import COMMANDS, _terminal, ledger_close, ledger_ship, ledger_split
from tokenmeter.cli._flags import Paragraphs
from tokenmeter.cli._output import print_json

if TYPE_CHECKING:
    import argparse

    from tokenmeter.ledger.copying import Copied
    from tokenmeter.ledger.imports.importing import ImportedFile
    from tokenmeter.ledger.verify import Check

_BY_URL = ("info", "verify", "merge", "forget", "export")
"""Actions that take the database of a fleet, too."""
_EPILOG = """\
exit status: 0 done, and for verify: nothing is wrong; 1 verify found something wrong, or import could not read some
 lines, which are named on standard error; 2 bad flags, or a file cannot be used.
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "ledger",
        help=COMMANDS["ledger"],
        description="What a ledger file holds, whether it is sound, and its upkeep.",
        epilog=_EPILOG,
        formatter_class=Paragraphs,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, text: str, *, url: bool = False) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text)
        place = "the ledger file, or the URL of a fleet's database" if url else "the ledger file"
        added.add_argument("ledger", metavar="FILE", help=place)
        added.add_argument("--json", action="store_true", help="JSON")
        return added

    action("info", "what a ledger holds: calls, period, size, tags, what was lost", url=True)
    action("verify", "examine the file, the roll-up, charges and ids; exit status 1 if something is wrong", url=True)
    action("vacuum", "give back the room of deleted calls")
    migrate = action("migrate", "copy a ledger of the first schema into a narrow file; goes on where it was stopped")
    migrate.add_argument("--to", metavar="FILE", help="the new file (default: beside the old one, NAME.narrow.db)")
    merge = action(
        "merge", "copy the calls of ledgers into a file; calls that are there already are left out", url=True
    )
    merge.add_argument("more", nargs="*", metavar="FILE", help="more ledgers, also sealed months")
    merge.add_argument("--to", metavar="FILE", required=True, help="the ledger that they are copied into")
    zone = action("zone", "make the days of the roll-up those of another clock")
    zone.add_argument("zone", metavar="ZONE", help="such as Asia/Shanghai")
    forget = action("forget", "replace the value of a tag in all calls, so that nobody knows whose they were", url=True)
    forget.add_argument("--tag", required=True, metavar="NAME=VALUE", help="such as user=u1")
    forget.add_argument("--by", default="forgotten", metavar="VALUE", help="what it becomes (default: forgotten)")
    export = action("export", "write every call as a line of JSON", url=True)
    export.add_argument("-o", "--output", metavar="FILE", help="default: standard output")
    ledger_close.add_action(actions)
    ledger_ship.add_action(actions)
    ledger_split.add_action(actions)
    imports = action("import", "put calls that other tools recorded into a ledger, each once; see docs/ledger.md")
    imports.add_argument("more", nargs="*", metavar="FILE", help="more files; the first is read in the same way")
    imports.add_argument("--to", metavar="LEDGER", required=True, help="the ledger that they are put into")
    imports.add_argument("--format", metavar="NAME", help="their format (default: recognized by their fields)")
    imports.add_argument("--map", metavar="FILE", help="a format of your own, a TOML file: see docs/ledger.md")
    imports.add_argument("--provider", metavar="ID", help="who bills calls that name no provider")
    imports.add_argument("--at", metavar="TIME", help="when calls were made that do not say it, such as batch results")


def run(args: argparse.Namespace) -> int:
    """Run one action. Raises LedgerError and ConfigurationError with the remedy."""
    run_action: dict[str, Any] = {
        "info": _info, "verify": _verify, "vacuum": _vacuum, "migrate": _migrate, "merge": _merge, "zone": _zone,
        "forget": _forget, "export": _export, "import": _import, "close": ledger_close.run, "ship": ledger_ship.run,
        "split": ledger_split.run,
    }  # fmt: skip
    if args.action not in _BY_URL:
        _refuse_url(args)
    status: int = run_action[args.action](args)
    return status


def _refuse_url(args: argparse.Namespace) -> None:
    """Raise ConfigurationError where a file has to be named and a database is."""
    from tokenmeter.errors import ConfigurationError
    from tokenmeter.ledger.fleet.database import is_url, shown

    for place in (args.ledger, getattr(args, "to", None)):
        if place is not None and is_url(place):
            raise ConfigurationError(
                f"ledger {args.action} is for a file, not for {shown(place)}: tokenmeter ledger merge {shown(place)} "
                "--to FILE copies the calls into one"
            )


def _show(args: argparse.Namespace, answer: dict[str, Any], text: str) -> int:
    if args.json:
        print_json(answer)
    else:
        _terminal.show(text, {})
    return 0


def _info(args: argparse.Namespace) -> int:
    from tokenmeter.ledger.upkeep import information

    answer = information(args.ledger)
    said = {name: ", ".join(value) if isinstance(value, list) else value for name, value in answer.items()}
    width = max(map(len, said))
    return _show(args, answer, "\n".join(
        f"{name.replace('_', ' '):<{width}}  {'none' if value in ('', None) else value}" for name, value in said.items()
    ))  # fmt: skip


def _verify(args: argparse.Namespace) -> int:
    from tokenmeter.ledger.opening import named
    from tokenmeter.ledger.verify import verify

    with _terminal.progress(f"examining {named(args.ledger)}"):
        checks = list(verify(args.ledger))
    wrong = sum(check.wrong for check in checks)
    answer = {"ledger": named(args.ledger), "wrong": wrong, "checks": [check._asdict() for check in checks]}
    _show(args, answer, "\n".join(_checked(check) for check in checks))
    return 1 if wrong else 0


def _checked(check: Check) -> str:
    from tokenmeter._support.logs import printable

    found = f"{check.examined} {check.name}: {f'{check.wrong} wrong' if check.wrong else 'sound'}"
    return "\n".join([found, *(f"  {printable(place)}" for place in check.places)])


def _vacuum(args: argparse.Namespace) -> int:
    from tokenmeter.ledger.upkeep import vacuum

    done = vacuum(args.ledger)
    return _show(args, done._asdict(), f"{args.ledger}: {done.before} bytes before, {done.after} now")


def _migrate(args: argparse.Namespace) -> int:
    from tokenmeter.ledger.copying import migrate

    target = args.to or str(Path(args.ledger).with_suffix(".narrow.db"))
    with _terminal.progress(f"copying {args.ledger}"):
        copied = migrate(args.ledger, target)
    return _copied(args, [copied], target)


def _merge(args: argparse.Namespace) -> int:
    from tokenmeter.ledger.copying import merge
    from tokenmeter.ledger.opening import named

    with _terminal.progress(f"copying into {named(args.to)}"):
        copies = merge([args.ledger, *args.more], args.to)
    return _copied(args, copies, args.to)


def _copied(args: argparse.Namespace, copies: list[Copied], target: str) -> int:
    said = [
        {
            "from": one.path, "calls": one.read, "new": one.new, "refused": one.refused,
            "bills_left_out": one.bills_left_out, "to": target,
        }
        for one in copies
    ]  # fmt: skip
    text = "\n".join(
        f"{one['from']}: {one['calls']} calls, {one['new']} of them new in {target}"
        + (f", {one['refused']} could not be stored" if one["refused"] else "")
        + (f", {one['bills_left_out']} saved bills left out for later ones" if one["bills_left_out"] else "")
        for one in said
    )
    return _show(args, {"copied": said}, text)


def _zone(args: argparse.Namespace) -> int:
    from tokenmeter.ledger.upkeep import set_zone

    moved = set_zone(args.ledger, args.zone)
    return _show(args, {"zone": args.zone, "moved": moved}, f"{moved} calls are on another day in {args.zone}")


def _forget(args: argparse.Namespace) -> int:
    from tokenmeter.errors import ConfigurationError
    from tokenmeter.ledger.upkeep import forget_tag

    name, found, value = args.tag.partition("=")
    if not (name and found):
        raise ConfigurationError(f"--tag: {args.tag!r} is not NAME=VALUE, such as user=u1")
    changed = forget_tag(args.ledger, name, value, args.by)
    return _show(args, {"changed": changed}, f"{changed} calls have {name}={args.by} instead")


def _export(args: argparse.Namespace) -> int:
    from tokenmeter.ledger.exporting import exported_calls

    with open(args.output, "w", encoding="utf-8") if args.output else _standard_output() as target:
        for call in exported_calls(args.ledger):
            target.write(json.dumps(call, ensure_ascii=False) + "\n")
    return 0


def _import(args: argparse.Namespace) -> int:
    from tokenmeter.cli._configured import configured_pricing
    from tokenmeter.ledger.imports.call_rows import check_provider
    from tokenmeter.ledger.imports.import_format import asked_format
    from tokenmeter.ledger.imports.importing import import_files

    pricing = configured_pricing()
    with _terminal.progress(f"importing into {args.to}"):
        done = import_files(
            [args.ledger, *args.more],
            args.to,
            pricing,
            form=asked_format(args.format, args.map),
            provider=check_provider(args.provider, pricing),
            at_ns=_instant(args.at),
        )
    for problem in (problem for one in done for problem in one.problems):
        print(f"tokenmeter: {_printable(problem)}", file=sys.stderr)
    _show(args, {"to": args.to, "imported": [one.to_dict() for one in done]}, "\n".join(map(_imported, done)))
    return 1 if any(one.failures or one.refused for one in done) else 0


def _imported(one: ImportedFile) -> str:
    beside = {
        "of them were known": one.known, "have a response that another call recorded": one.delegated,
        "rows are no calls": one.left_out, "spans carry a call that tokenmeter metered": one.metered,
        "could not be stored": one.refused, "problems": one.failures,
    }  # fmt: skip
    said = [
        f"{one.calls} calls, {one.new} of them new",
        *(f"{number} {text}" for text, number in beside.items() if number),
    ]
    return f"{one.path} ({one.format or 'no known format'}): {', '.join(said)}"


def _instant(text: str | None) -> int | None:
    from tokenmeter.errors import ConfigurationError
    from tokenmeter.ledger.imports.fields import BadField, instant_ns

    try:
        return None if text is None else instant_ns(text, "--at", unit="s", zone=None)
    except BadField as problem:
        raise ConfigurationError(f"--at: {problem}") from None


def _printable(item: object) -> str:
    from tokenmeter._support.logs import printable

    return printable(str(item))


def _standard_output() -> Any:
    from contextlib import nullcontext

    return nullcontext(sys.stdout)
