"""Turns the files of a bill into lines: finds the part of the format that a file is of, and reads its rows.

A row that cannot be read is answered by a problem that names its field, and the others are read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import tzinfo

from tokenmeter.ledger.bills.bill_files import BillTable
from tokenmeter.ledger.bills.bill_format import BillFormat, BillPart
from tokenmeter.ledger.bills.bill_rows import BillClock, BillLine, FieldProblem, RowReader
from tokenmeter.ledger.file_problem import FileProblem

__all__ = ["BillReading", "read_lines", "recognized"]


@dataclass(slots=True)
class BillReading:
    """What was read of a bill. `zone` is the clock of its days."""

    zone: tzinfo
    lines: list[BillLine] = field(default_factory=list)
    problems: list[FileProblem] = field(default_factory=list)


def read_lines(tables: Iterable[BillTable], form: BillFormat, zone: tzinfo, *, fixed: bool) -> BillReading:
    """Read every table by the part of the format it belongs to. `fixed` keeps `zone` whatever offset the rows carry."""
    reading = BillReading(zone)
    clock = BillClock(zone, follows=form.offsets and not fixed)
    for given in tables:
        table = given.shaped(form.lists)
        found = _part_of(table, form)
        if isinstance(found, FileProblem):
            reading.problems.append(found)
            continue
        part, header = found
        for number, row in table.under(header):
            try:
                reading.lines.extend(RowReader(form, part, row, f"{table.name}:{number}", clock).lines())
            except FieldProblem as problem:
                reading.problems.append(FileProblem(table.name, number, problem.field, str(problem)))
    reading.zone = clock.zone
    return reading


def _part_of(table: BillTable, form: BillFormat) -> tuple[BillPart, frozenset[str]] | FileProblem:
    """The part that has all its required columns in the table, the one with most of them; else what is missing."""
    nearest: tuple[int, BillPart, list[str], frozenset[str]] | None = None
    for header in table.headers():
        for part in sorted(form.parts, key=lambda one: -len(one.required)):
            missing = part.missing(header)
            if not missing:
                return part, header
            present = len(part.required) - len(missing)
            if nearest is None or present > nearest[0]:
                nearest = (present, part, missing, header)
    if nearest is None:
        return FileProblem(table.name, None, None, "has no rows")
    _, part, missing, header = nearest
    names = part.columns.get(missing[0]) or part.quantities.get(missing[0], ())
    return FileProblem(
        table.name,
        1,
        missing[0],
        f"no column {' or '.join(map(repr, names))}, as format {form.name} has it; "
        f"the columns are {', '.join(sorted(header))[:200]}; name yours with --map",
    )


def recognized(tables: Iterable[BillTable], form: BillFormat) -> bool:
    """Whether some table has all the columns that a part of the format requires."""
    return any(not isinstance(_part_of(table.shaped(form.lists), form), FileProblem) for table in tables)
