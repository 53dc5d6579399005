"""Reads one row of a bill by its part of the format: day, model, component, quantity, list cost, what is payable."""

from __future__ import annotations

import decimal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from decimal import Decimal
from typing import Any, Final

from tokenmeter.ledger.bills.bill_format import BillFormat, BillPart
from tokenmeter.ledger.bills.values import exact_sum, offset_of, read_day, read_number
from tokenmeter.money import EXACT

__all__ = ["BillClock", "BillLine", "FieldProblem", "RowReader"]

ZERO: Final = Decimal(0)
_YES: Final = ("true", "1", "yes")


@dataclass(frozen=True, slots=True, kw_only=True)
class BillLine:
    """One row of a bill, or one component of a row. Quantities are single tokens or units, `price` is for one.

    `component` is `total` for a sum over components and `requests` where `quantity` counts requests, None for tax and
    credits. `amount` is at the vendor's list, `paid` what is payable; `adjust` leads from one to the other.
    """

    place: str
    day: str
    model: str | None
    component: str | None
    quantity: Decimal | None = None
    price: Decimal | None = None
    amount: Decimal | None = None
    paid: Decimal | None = None
    adjust: tuple[tuple[str, Decimal, str], ...] = ()
    currency: str | None = None
    id: str | None = None
    package: str | None = None
    batch: bool = False


class FieldProblem(ValueError):
    """A field that cannot be read."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class BillClock:
    """The zone of the bill's days: the format's, or the first offset that its rows carry."""

    def __init__(self, zone: tzinfo, *, follows: bool) -> None:
        self.zone, self._follows, self._seen = zone, follows, False

    def day(self, text: str) -> str:
        offset = offset_of(text)
        if self._follows and offset is not None:
            if not self._seen:
                self.zone, self._seen = offset, True
            elif offset != self.zone:
                raise FieldProblem("day", f"{text!r} is on another clock than the lines before: name it with --tz")
        try:
            return read_day(text, self.zone)
        except ValueError as error:
            raise FieldProblem("day", str(error)) from None


class RowReader:
    """Reads one row."""

    def __init__(self, form: BillFormat, part: BillPart, row: Mapping[str, str], place: str, clock: BillClock) -> None:
        self.form, self.part, self.row, self.place, self.clock = form, part, row, place, clock
        self.found: dict[str, str] = {}
        for column, pattern in part.extract:
            match = pattern.search(row.get(column) or "")
            if match is not None:
                self.found.update({key: value for key, value in match.groupdict().items() if value is not None})

    def text(self, name: str) -> str:
        """The text of a field; empty where the row has none."""
        if name in self.found:
            return self.found[name].strip()
        return next((self.row[one].strip() for one in self.part.columns.get(name, ()) if self.row.get(one)), "")

    def number(self, name: str) -> Decimal | None:
        return self._number(name, self.text(name))

    def _number(self, name: str, text: str) -> Decimal | None:
        try:
            return read_number(text)
        except ValueError as error:
            raise FieldProblem(name, str(error)) from None

    def money(self, name: str) -> Decimal | None:
        value = self.number(name)
        return None if value is None else EXACT.multiply(value, self.part.scale)

    def lines(self) -> Iterator[BillLine]:
        kind = next((name for name, pattern in self.part.kinds if pattern.search(self.text("kind"))), None)
        if kind == "skip":
            return
        if not self.text("day"):
            raise FieldProblem("day", "is empty")
        line = BillLine(
            place=self.place,
            day=self.clock.day(self.text("day")),
            model=self._model(),
            component=None,
            currency=(self.text("currency") or self.form.currency or "").upper() or None,
            id=self.text("id") or None,
            batch=self._batch(),
        )
        amount, paid = self.money("amount"), self._paid()
        if kind in ("tax", "credit", "rounding"):
            yield self._beside(line, kind, paid if paid is not None else amount)
        elif self.part.quantities:
            yield from self._wide(line, amount, paid)
        else:
            yield from self._narrow(line, amount, paid, free=kind == "free")

    def _model(self) -> str | None:
        model = self.text("model")
        return self.form.models.get(model.lower(), model.replace(" ", self.form.joint)) or None

    def _batch(self) -> bool:
        text = self.text("batch").lower()
        return text in _YES or "batch" in text or "批量" in text

    def _beside(self, line: BillLine, kind: str, money: Decimal | None) -> BillLine:
        if money is None:
            raise FieldProblem("paid", f"a line of kind {kind} has no amount")
        cause = "promotion or contract" if kind == "credit" else kind
        return _with(line, amount=ZERO, paid=money, adjust=((cause, money, f"{kind} line {self.place}"),))

    def _wide(self, line: BillLine, amount: Decimal | None, paid: Decimal | None) -> Iterator[BillLine]:
        """A row with a column for each component; what is inside another component is taken out of it."""
        counted = {}
        for component, columns in self.part.quantities.items():
            text = next((self.row[one] for one in columns if self.row.get(one)), "")
            counted[component] = self._number(component, text)
        for component, quantity in counted.items():
            if quantity is not None:
                inside = [counted.get(one) or ZERO for one in self.part.inclusive.get(component, ())]
                own = EXACT.subtract(quantity, exact_sum(inside))
                if own < 0 <= quantity:
                    parts = ", ".join(self.part.inclusive[component])
                    raise FieldProblem(component, f"{quantity} is less than the {parts} inside it")
                if own:
                    yield _with(line, component=component, quantity=own)
        requests = self.number("requests")
        if requests:
            yield _with(line, component="requests", quantity=requests)
        if amount is not None or paid is not None:
            yield _with(line, component="total", amount=amount, paid=paid, adjust=self._adjust())

    def _narrow(
        self, line: BillLine, amount: Decimal | None, paid: Decimal | None, *, free: bool
    ) -> Iterator[BillLine]:
        component = self.part.of or self._component()
        if component == "skip":
            return
        quantity, price = self._quantity("quantity"), self._price()
        before = self._quantity("before")
        if quantity is None and before is not None:
            quantity = EXACT.subtract(before, self._quantity("deducted") or ZERO)
        if component == "requests":
            yield _with(line, component=component, quantity=quantity)
            return
        package = self.text("package") if self.text("package").lower() not in ("-", "null", "none", "[]") else ""
        adjust = self._adjust()
        if free and paid is not None:
            adjust = (*adjust, ("free quota or package", EXACT.minus(paid), f"paid from {self.text('kind')}"))
            paid = ZERO
        deducted = EXACT.subtract(before, quantity or ZERO) if before else ZERO
        if deducted > 0 or (package and quantity and not amount and not price):
            name = package or "quantity before deduction"
            yield _with(line, component=component, quantity=deducted or quantity, price=ZERO, amount=ZERO, package=name)
            if deducted <= 0:
                quantity = None
        if amount is None and price is not None and quantity is not None:
            amount = EXACT.multiply(price, quantity)
        if quantity or amount or paid or adjust:
            yield _with(
                line, component=component, quantity=quantity, price=price or None, amount=amount, paid=paid,
                adjust=adjust,
            )  # fmt: skip
        elif paid is not None:  # a package paid for all of it: nothing is payable
            yield _with(line, amount=ZERO, paid=paid)

    def _component(self) -> str:
        text = self.text("type")
        known = self.form.components.get(text.lower())
        if known is None:
            known = next((name for pattern, name in self.form.patterns if pattern.search(text)), None)
        if known is None:
            raise FieldProblem(
                "type", f"{text[:60]!r} is no component that format {self.form.name} knows: add it with --map"
            )
        return known

    def _unit(self, name: str) -> Decimal | None:
        """How many tokens or units one of the printed ones is; None where the row does not say."""
        text = self.text(name)
        if not text or not self.form.units:
            return None
        bare = text.lower().rpartition("元/")[2].rpartition("cny/")[2].rpartition("usd/")[2].strip()
        if bare not in self.form.units:
            raise FieldProblem(name, f"{text[:40]!r} is none of the units of format {self.form.name}")
        return self.form.units[bare]

    def _quantity(self, name: str) -> Decimal | None:
        number = self.number(name)
        return None if number is None else EXACT.multiply(number, self._unit("unit") or Decimal(1))

    def _price(self) -> Decimal | None:
        """The list price of a single token or unit."""
        price = self.number("price")
        if price is None:
            return None
        per = self._unit("per") or self._unit("unit") or Decimal(1)
        try:
            return EXACT.divide(EXACT.multiply(price, self.part.scale), per)
        except decimal.DecimalException:
            raise FieldProblem("price", f"{price} for {per} is no finite decimal") from None

    def _paid(self) -> Decimal | None:
        """What is payable, with what its column does not have yet."""
        paid = self.money("paid")
        if paid is not None:
            for _, money, _ in self._adjust(payable=True):
                paid = EXACT.add(paid, money)
        return paid

    def _adjust(self, *, payable: bool | None = None) -> tuple[tuple[str, Decimal, str], ...]:
        """The sums of the format's money rules that are not zero; of those that are payable or not, where asked."""
        found = []
        for rule in self.part.adjust:
            if payable is not None and rule.payable != payable:
                continue
            total = ZERO
            given = True
            for names, sign in ((rule.plus, 1), (rule.minus, -1)):
                text = next((self.row[one] for one in names if self.row.get(one)), "")
                value = self._number(names[0], text) if names else None
                given = given and (value is not None or not names)
                total = EXACT.add(total, EXACT.multiply(EXACT.multiply(value or ZERO, self.part.scale), Decimal(sign)))
            if given and total:
                columns = " less ".join(names[0] for names in (rule.plus, rule.minus) if names)
                found.append((rule.cause, total, f"column {columns}, line {self.place}"))
        return tuple(found)


def _with(line: BillLine, **changes: Any) -> BillLine:
    return replace(line, **changes)
