"""`tokenmeter calibration`: show, export, delete and probe calibration data.

Works on the file that `configure(calibration="file")` names, also while programs use it. Calibration is off unless
`calibrate` or `calibration` is set.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.cli import COMMANDS
from tokenmeter.cli._flags import Paragraphs
from tokenmeter.cli._output import print_json

if TYPE_CHECKING:
    import argparse

    from tokenmeter.tokens.calibration.calibration import Entry

_EPILOG: Final = """\
our count x factor + overhead = what the vendor reports, for 95% of calls within the range shown. A line is used for
counts made by this version where enough recent calls stand behind it and it predicts them better than our count does.
Of requests with tools or media it is about the tokens of those; the text around them follows the line of text alone.
Numbers a vendor reports are never changed.
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""

    parser: argparse.ArgumentParser = subparsers.add_parser(
        "calibration",
        help=COMMANDS["calibration"],
        description="What was learnt from usage reported in your own traffic.",
        epilog=_EPILOG,
        formatter_class=Paragraphs,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="what is known, by model, part and script")
    show.add_argument("--json", action="store_true", help="JSON instead of a table")
    export = actions.add_parser("export", help="everything kept, the pairs of counts included, as JSON Lines")
    forget = actions.add_parser("forget", help="remove what was learnt")
    chosen = forget.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--model", metavar="NAME", help="of one model, as requests name it")
    chosen.add_argument("--all", action="store_true", help="of all models")
    probe = actions.add_parser("probe", help="ask a vendor's count endpoint about requests of yours, and learn")
    probe.add_argument("--provider", required=True, metavar="ID", help="anthropic, google or openai")
    probe.add_argument("--requests", required=True, metavar="FILE", help="request bodies, one JSON object a line; sent")
    probe.add_argument("--key-env", required=True, metavar="VARIABLE", help="the variable that holds your key")
    probe.add_argument("--base-url", metavar="URL", help="another address of the provider")
    probe.add_argument("--pause", type=float, default=1.0, metavar="S", help="seconds between requests (default 1)")
    for action in (show, export, forget, probe):
        action.add_argument("file", metavar="FILE", help="the file that the setting calibration names")


def run(args: argparse.Namespace) -> int:
    """Run one action on a calibration file. Raises ConfigurationError where the file is none."""
    from tokenmeter.tokens.calibration.calibration import Calibration
    from tokenmeter.tokens.calibration.store import FileStore

    store = FileStore(args.file, create=args.action == "probe")
    if args.action == "probe":
        from tokenmeter.cli._probe import run_probe

        return run_probe(args, Calibration(store))
    if args.action == "forget":
        gone = store.forget(args.model)
        print(f"{gone} pairs forgotten")
        return 0
    if args.action == "export":
        return _export(store)
    entries = Calibration(store).entries()
    if args.json:
        print_json([entry.to_dict() for entry in entries])
    elif entries:
        _show(entries)
    else:
        print("nothing was learnt yet: while calibrate is on, a model's first calls are counted, then one in fifty")
    return 0


def _export(store: Any) -> int:
    from tokenmeter.cli._output import to_json
    from tokenmeter.tokens.calibration.calibration import instant_text

    pairs, changes = store.load()
    for key, kept in pairs.items():
        for pair in kept:
            line = {**key._asdict(), **pair._asdict(), "at": instant_text(pair.at)}
            sys.stdout.write(to_json(line) + "\n")
    for change in changes:
        sys.stdout.write(to_json({**change.key._asdict(), "changed_at": instant_text(change.at)}) + "\n")
    return 0


def _show(entries: list[Entry]) -> None:
    from tokenmeter._support.text_tables import table

    headers = ["provider", "model", "part", "script", "calls", "overhead", "factor", "95% within", "used", "note"]
    print(table(headers, [_row(entry) for entry in entries], right=["calls", "overhead", "factor", "95% within"]))


def _row(entry: Entry) -> list[str]:
    key, known = entry.key, entry.fit
    told = entry.to_dict()
    notes = [f"changed {told['changed_at']}"] if entry.changed_at is not None else []
    names = [key.provider, key.model, key.part, key.script]
    if known is None:
        return [*names, "0", "", "", "", "no", "; ".join(notes)]
    if not entry.used:
        notes.append("too few calls, too old, no better than the plain count, or counted by another version")
    off = f"{known.share_off:.1%}" if known.by_share else f"{known.tokens_off:.0f} tokens"
    figures = [str(known.pairs), f"{known.line.overhead:+.0f}", f"{known.line.factor:.3f}", off]
    return [*names, *figures, "yes" if entry.used else "no", "; ".join(notes)]
