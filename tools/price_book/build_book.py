"""Builds the text of every provider's price file from the facts, the decisions and the list rules.

`compile_book` groups the facts by model, asks `merge_conditions` for each model's entries, applies the rules stated
once for a list, and hands the entries to the writer. The output is never edited by hand: a wrong price is a missing
decision.
"""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, Protocol

from tokenmeter.prices.edition import SERIAL, edition_of
from tokenmeter.prices.model_names import form_pattern
from tools.price_book.ages import read_days, read_lines
from tools.price_book.completion import completion, stand_ins_of
from tools.price_book.contradictions import exceptions_of, leave_contradictions
from tools.price_book.entries import Entry, joined, without_repeats
from tools.price_book.facts import Fact
from tools.price_book.list_rules import ListRule, load_list_rules
from tools.price_book.merge_conditions import entries_of
from tools.price_book.model_groups import Alias, Model, group
from tools.price_book.model_keys import bare, key_of
from tools.price_book.plans import plan_lines
from tools.price_book.toml_text import quoted
from tools.price_book.write_entries import Writer, gaps, moment

HERE: Final = Path(__file__).parent
OUT: Final = HERE.parents[1] / "tokenmeter" / "prices" / "data"
EDITION: Final = HERE.parents[1] / "tokenmeter" / SERIAL


def without_gaps(rates: list[Entry]) -> list[Entry]:
    """The entries, without prices that only long calls would have."""
    for rate in rates:
        for slot in gaps(rate):
            fact = rate.givers.pop(slot)
            del rate.prices[slot]
            for other in (fact, *rate.agreeing):
                if slot in other.slots:
                    other.used, other.left_out = False, "a tier without the tier below it"
    return [rate for rate in rates if rate.prices]


def while_sold(rates: list[Entry], retired: str | None) -> list[Entry]:
    """The entries without what catalogs still list after the vendor retired the model."""
    sold = [rate for rate in rates if not retired or not rate.start or rate.start[:10] < retired[:10]]
    kept = {id(fact) for rate in sold for fact in rate.agreeing}
    for fact in (fact for rate in rates if rate not in sold for fact in rate.agreeing):
        if id(fact) not in kept:
            fact.used, fact.left_out = False, "listed after its vendor retired the model"
    return sold


def rename(facts: Iterable[Fact], heads: Mapping[str, Any]) -> None:
    """Give facts about a name that a head calls an alias to the model that it is a name of."""
    names = {
        (provider, name.lower()): target
        for provider, head in heads.items()
        for name, target in head.get("aliases", {}).items()
    }
    for fact in facts:
        fact.model = names.get((fact.provider, bare(fact.model, fact.provider).lower()), fact.model)


class Listener(Protocol):
    """Receives the finished entries of each model."""

    def entries(self, model: Model, rates: Sequence[Entry]) -> None:
        """Take the entries of one model, in the order of its price file."""


def compile_book(facts: Sequence[Fact], listener: Listener | None = None) -> dict[str, str]:
    """Every provider's price file, by id."""
    heads = tomllib.loads((HERE / "heads.toml").read_text(encoding="utf-8"))
    read = read_days(facts)
    rename(facts, heads)
    by_provider: dict[str, list[Model]] = defaultdict(list)
    for model in group(facts):
        by_provider[model.provider].append(model)
    rules, _ = load_list_rules(facts)
    others: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        others[fact.provider].append(fact)
    book: dict[str, str] = {}
    for provider in sorted(others):
        its_own = by_provider.get(provider, []), others[provider], rules.get(provider, [])
        if text := provider_file(provider, *its_own, heads.get(provider, {}), read, listener):
            book[provider] = text
    return book


def provider_file(
    provider: str,
    models: list[Model],
    facts: list[Fact],
    rules: list[ListRule],
    head: dict[str, Any],
    read: dict[str, str],
    listener: Listener | None = None,
) -> str:
    """One provider's file, or nothing if no rate survives."""
    listed = [(fact.start or fact.as_of, fact.currency) for fact in facts if not fact.raw.get("converted")]
    if not listed:
        return ""
    currency = head.get("currency") or min(listed)[1]
    zone = head.get("timezone") or ("Asia/Shanghai" if currency == "CNY" else "UTC")
    as_of = facts[0].as_of
    writer = Writer(currency, read, as_of)
    put = writer.lines.append
    put("# Compiled by tools/price_book from the fact base and tools/price_book/decisions: do not edit by hand.")
    put(f'provider = {quoted(provider)}\ncurrency = "{currency}"\ntimezone = "{zone}"')
    writer.lines += read_lines(facts, read)
    put('match = ["case", "dots", "spaces"]')
    if head.get("head"):
        put(head["head"].strip("\n"))
    put("")
    for form in head.get("forms", []):
        put(form_lines({"name": form} if isinstance(form, str) else form))
    head_lines = len(writer.lines)
    named: dict[str, tuple[str, Alias]] = {}
    excepted = exceptions_of(head)
    retired = {name.lower(): str(one["on"]) for one in head.get("withdrawn", []) for name in one["models"]}
    for model in models:
        rates = entries_of(model, completion(model, head, rules))
        leave_contradictions(rates, model.id, excepted)
        rates = without_gaps(rates)
        for rule in rules:
            rule.apply(model, rates)
        rates = joined(without_repeats(rates, stand_ins_of(head)))
        rates = while_sold(rates, retired.get(model.id.lower()))
        if listener is not None:
            listener.entries(model, rates)
        for rate, after in zip_longest(rates, rates[1:]):
            writer.rate(model, rate, after.start if after else None)
        if rates:
            for alias in model.aliases:
                if alias.name.lower() != model.id.lower():
                    target, known = named.get(alias.name, (model.id, alias))
                    named[alias.name] = (target, alias.joined(known) if target == model.id else known)
    ids = {model.id.lower() for model in models}
    for end in head.get("withdrawn", []):
        for name in end["models"]:
            if name.lower() not in ids:
                raise ValueError(f"heads.toml: {provider} has no model {name!r} to withdraw")
            put(f"[[rate]]\nmodel = {quoted(name)}\neffective = {moment(str(end['on']))}\nwithdrawn = true")
            put(f'source = {quoted(end["source"])}\nconfidence = "official"\n')
    for name, target in head.get("aliases", {}).items():
        if target.lower() not in ids:
            raise ValueError(f"heads.toml: {provider} has no model {target!r} for the alias {name!r}")
        named[name] = (target, Alias(name, None, None))
    for name, (target, alias) in sorted(named.items()):
        if name.lower() not in ids or alias.until:
            put(f"[[alias]]\nmodel = {quoted(name)}\nof = {quoted(target)}")
            start = alias.seen if _is_a_form(name, target, provider, head.get("forms", ())) else None
            if alias.start or start:
                put(f"from = {moment(alias.start or start or '')}")
            if alias.until:
                put(f"until = {moment(alias.until)}")
            put("")
    writer.lines += plan_lines(facts, currency)
    return "\n".join(writer.lines).rstrip("\n") + "\n" if len(writer.lines) > head_lines else ""


def _is_a_form(name: str, target: str, provider: str, forms: Sequence[Any]) -> bool:
    """Whether the name is also a safe spelling of another model, which it means until a source says otherwise."""
    names = (form if isinstance(form, str) else form["name"] for form in forms)
    inner = (match["model"] for form in names if (match := form_pattern(form).fullmatch(name)))
    return any(key_of(model, provider) != key_of(target, provider) for model in inner)


def form_lines(form: dict[str, Any]) -> str:
    """One `[[form]]`."""
    lines = ["[[form]]", f"name = {quoted(form['name'])}"]
    if "of" in form:
        lines.append(f"of = {quoted(form['of'])}")
    if "params" in form:
        said = (
            f"{name} = {str(value).lower() if isinstance(value, bool) else quoted(value)}"
            for name, value in form["params"].items()
        )
        lines.append(f"params = {{ {', '.join(said)} }}")
    return "\n".join(lines) + "\n"


def count_edition(path: Path = EDITION) -> None:
    """Count the serial of the book on, which begins at 1 with each new day that a source was read."""
    newest = edition_of(path.parents[1]).day
    text = path.read_text(encoding="utf-8")
    now = tomllib.loads(text)
    serial = now["serial"] + 1 if str(now["day"]) == newest else 1
    remarks = [line for line in text.splitlines() if line.startswith("#")]
    path.write_text("\n".join([*remarks, f"day = {newest}", f"serial = {serial}", ""]), encoding="utf-8")


def write(book: dict[str, str], dry: bool) -> list[str]:
    """Bring the folder in line with the book; the files that differed."""
    differ = []
    for path in sorted({*OUT.glob("*.toml"), *(OUT / f"{provider}.toml" for provider in book)}):
        text = book.get(path.stem)
        if text == (path.read_text(encoding="utf-8") if path.exists() else None):
            continue
        differ.append(path.name)
        if not dry:
            path.unlink() if text is None else path.write_text(text, encoding="utf-8")
    return differ
