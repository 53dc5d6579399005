"""Says which prices, seen later than the card they belong to, may complete the card from its beginning.

A price may if the calls that it prices had no price at all without it: then an unknown cost becomes known, and no known
cost changes. A batch price may, since a batch call without one is unpriced; a thinking price or a tier may not, since
those calls cost the base price until it is seen.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tokenmeter.prices.components import load_schema
from tools.price_book.facts import Slot
from tools.price_book.list_rules import ListRule
from tools.price_book.model_groups import Model

Completes = Callable[[Slot], bool]


def stand_ins_of(head: Mapping[str, Any]) -> Mapping[str, str]:
    """Which price of a provider serves for which component that lacks one: by the head of its price file."""
    stated: Mapping[str, str] = tomllib.loads(head.get("head", "")).get("stand_in", {})
    return stated


def completion(model: Model, head: Mapping[str, Any], rules: Iterable[ListRule]) -> Completes:
    """Which slots may complete an older card of the model.

    Not what has a stand-in at the head of the price file, nor what a rule of the list prices already.
    """
    schema = load_schema()
    unpriced = {name for name, condition in schema.conditions.items() if condition.refuse_unlisted}
    stand_ins = {*schema.stand_ins, *stand_ins_of(head)}
    stated = [rule for rule in rules if rule.names(model)]
    whens = [rule.when for rule in stated if rule.when]
    components = {name for rule in stated for name in rule.components}

    def completes(slot: Slot) -> bool:
        if any(set(when) <= set(slot.when) for when in whens):
            return False
        if slot.when:
            return len(slot.when) == 1 and slot.when[0][0] in unpriced
        return slot.component not in stand_ins and slot.component not in components

    return completes
