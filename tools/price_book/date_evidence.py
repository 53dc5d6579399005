"""Replaces the dates that a fact's source cannot know, before histories are reconciled."""

from __future__ import annotations

from datetime import timedelta

from tools.price_book.model_groups import Model
from tools.price_book.rate_cards import within


def date_pages(model: Model) -> None:
    """A vendor's page without a date speaks from the day its price was first seen."""
    for page in model.facts:
        if page.primary and page.start is None and page.until is None:
            seen = [
                f.first
                for f in model.facts
                if f.first
                and f.price == page.price
                and {(s.component, s.when) for s in f.slots} & {(s.component, s.when) for s in page.slots}
            ]
            page.first, page.page = min(seen, default=page.as_of), True


def distrust_release_dates(model: Model) -> None:
    """A catalog that keeps only today's price dates it from the model's release.

    Its date is believed where no trusted source shows another price since; else the price counts from the
    day the catalog was read.
    """
    for fact in model.facts:
        read = fact.raw["source_date"]
        if fact.primary or not fact.effective or fact.until or not read or fact.forced or fact.effective > read:
            continue
        rivals = [
            f
            for f in model.facts
            if f.family != fact.family and f.price != fact.price and set(f.slots) & set(fact.slots)
            and (f.primary or f.agree) and not f.question
            and (fact.effective[:10] < (f.first or "") < read
                 or _outlived(fact.effective, f.raw.get("observed_to"), read))
        ]  # fmt: skip
        if rivals:
            fact.effective, fact.first = None, read


def _outlived(date: str, end: str | None, read: str) -> bool:
    """Whether a rival price was still shown long after the date: more than a catalog's usual delay."""
    return end is not None and end < read and not within(date, end, timedelta(days=60))
