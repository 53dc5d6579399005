"""Reads one vendor's dialect of one wire format: an answer in, `Extracted` out.

The usage object is read in one pass (`usage_fields.Fields`), what stands beside it by `answer_facts`; then `totals`
brings totals to one meaning. Numbers written as strings or as `12.0` are read; a figure that is no number is left out
and named in `reason`; figures that contradict one another are flagged. What is not reported stays None: the only zeros
are the vendor's and those the wire format implies (`fixed`, `zero_if_absent`). Pieces that no field counts (searches,
images) come from `element_counts`.

`UsageReader.read` is on the path of every metered call, which is why its steps are spelled out rather than looped over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.bounded import NAME_MOST
from tokenmeter.usage import Source, checked_usage
from tokenmeter.wire.answer_facts import Facts, FactsReader
from tokenmeter.wire.answer_places import direct, first_object, places_beside
from tokenmeter.wire.element_counts import ElementCounts, elements_of_model
from tokenmeter.wire.extracted import EMPTY, Extracted
from tokenmeter.wire.formats import Api, sign
from tokenmeter.wire.json_paths import getter
from tokenmeter.wire.totals import Totals
from tokenmeter.wire.usage_fields import Fields, Found
from tokenmeter.wire.usage_frames import UsageFrames
from tokenmeter.wire.usage_values import PARTIAL_OUTPUT, make_usage, read_odd, shown, suspicious, with_upstream

if TYPE_CHECKING:
    from tokenmeter.wire.telling_words import TellingWords

__all__ = ["UsageReader"]

# Looking a member up on an enum class costs as much as reading a field of the answer.
_REPORTED: Final = Source.REPORTED
_PARTIAL: Final = Source.PARTIAL
_FLAGS_MOST: Final = 20
_MODELS_MOST: Final = 1000
_NOTHING: Final[dict[str, Any]] = {}


class UsageReader:
    """One vendor's dialect of one wire format, compiled from its paths."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.merge = api.merge
        self._fields = Fields(api.counts, api.info, open_=api.open)
        self._totals = Totals(api)
        self.frames = None if self._totals.adjusts or api.open else UsageFrames(self._fields, api.id)
        self._zero_is_told = "output_tokens" not in api.fixed
        # An answer may be cut down to `usage` and `model`, whatever its format calls the former.
        places = api.usage if "usage" in api.usage else (*api.usage, "usage")
        places = tuple(sorted(places, key=lambda place: place == "."))  # the answer itself is always there: last
        self._usage = direct(places)
        self._spare = direct(api.spare)
        self._beside = places_beside(api.beside)
        facts = FactsReader(api)
        self.facts, self.error, self.refusal = facts.read, facts.error, facts.refusal
        self._tiers = api.known.get("tier")
        self._elements = ElementCounts(api.elements)
        self._instead = ElementCounts(api.instead, first=True)
        self._of_models: dict[str | None, tuple[ElementCounts, dict[str, int]]] = {}
        self._of_models[None] = (self._elements, {})
        self._by_model = bool(api.elements_of or api.per_answer)
        self._counts_elements = bool(self._elements or self._by_model)
        self.ends = tuple(sign(text) for text in api.ends)
        self.begins = tuple(sign(text) for text in api.begins)
        self.turns = tuple(sign(text) for text in api.turns)
        self.choice = tuple(getter(path) for path in api.choice)
        self._tier_counts = sorted({name for name in api.counts.values() if name.startswith("tier.")})
        self._upstream = sorted({name for name in api.counts.values() if name.startswith("upstream_cost.")})
        self._words: TellingWords | None = None
        self.counted = frozenset(re.sub(r"\[[^\]]*\]", "[]", path) for path in api.counts)

    @property
    def words(self) -> TellingWords:
        """What events that say something of the usage hold; made where there are events."""
        if self._words is None:
            from tokenmeter.wire.telling_words import TellingWords

            self._words = TellingWords(self.api)
        return self._words

    def by_frame(self, text: bytes, facts: Facts) -> Extracted | None:
        """`settle` for the text of a usage object like one before (`usage_frames.py`); None where it must be parsed.

        The answer holds nothing else that is counted.
        """
        if self.frames is None or (self._by_model and self.elements(facts.model)[1]):
            return None
        said = self.frames.read(text, facts)
        if said is None or facts.tier is None or self._tiers is None:
            return said
        flags: list[str] = []
        self._check_tier(facts.tier, flags)
        return None if flags else said

    def usage_object(self, root: dict[str, Any]) -> dict[str, Any] | None:
        """The usage object of an answer already out of its envelope, wherever this format puts it."""
        for get in self._usage:
            usage = root.get(get) if type(get) is str else get(root)  # type: ignore[operator]
            if type(usage) is dict and usage:
                return usage
        return None

    def spare_object(self, root: dict[str, Any]) -> dict[str, Any] | None:
        """The second usage object of an answer: a host's own count beside the model vendor's."""
        return first_object(self._spare, root) if self._spare else None

    def read(self, body: dict[str, Any]) -> Extracted:
        """Read one whole answer."""
        root = self.api.root(body) if self.api.envelopes else body
        raw = self.usage_object(root)
        if raw is None and self._spare:
            raw = self.spare_object(body)
        facts = self.facts(root)
        if raw is None:
            return self._without_usage(root, body, facts)
        answer = self.settle(raw, facts, root)
        if answer.usage is None and answer.error is None and (code := self.refusal(body)) is not None:
            return self.nothing(facts._replace(error=code), self._why_not(root, code), raw)
        return answer

    def elements(self, model: str | None) -> tuple[ElementCounts, dict[str, int]]:
        """What is counted in the answers of a model, and what each answer of it is one of."""
        known = self._of_models.get(model if self._by_model else None)
        if known is None:
            known = elements_of_model(self.api, self._elements, model or "")
            if len(self._of_models) >= _MODELS_MOST:
                self._of_models.clear()
            if len(model or "") <= NAME_MOST:
                self._of_models[model] = known
        return known

    def _count_elements(self, root: dict[str, Any], model: str | None) -> dict[str, int | Decimal]:
        elements, each = self._of_models.get(model if self._by_model else None) or self.elements(model)
        if each:
            return {**each, **elements.of(root)}
        return elements.of(root) if elements.any else _NOTHING

    def nothing(self, facts: Facts, reason: str, raw: object = None, source: Source = Source.NONE) -> Extracted:
        """An answer without usage."""
        return Extracted(
            None, source, facts.model, facts.tier, reason=reason, raw=raw, finish_reasons=facts.finish,
            response_id=facts.id, api=self.api.id, error=facts.error,
        )  # fmt: skip

    def _without_usage(self, root: dict[str, Any], body: dict[str, Any], facts: Facts) -> Extracted:
        """What an answer without a usage object is billed by, or why it says nothing."""
        if facts.error is None:
            facts = facts._replace(error=self.refusal(body))
        if facts.error is None and self._instead and (counts := self._instead.of(root)):
            if self._counts_elements:
                counts = {**self._count_elements(root, facts.model), **counts}
            return self.pieces(counts, facts)
        return self.nothing(facts, self._why_not(root, facts.error))

    def pieces(self, counts: Mapping[str, int | Decimal], facts: Facts) -> Extracted:
        """An answer that reports what it is billed by only in pieces."""
        usage, _ = make_usage(dict(counts), [], partial=False)
        return self.nothing(facts, "")._replace(usage=usage, source=_REPORTED, reason=None)

    def settle(
        self,
        raw: dict[str, Any],
        facts: Facts,
        root: dict[str, Any],
        *,
        partial: bool = False,
        spoke: bool | None = False,
        counts: dict[str, int | Decimal] | None = None,
    ) -> Extracted:
        """Turn one usage object into an answer.

        A stream says whether text went by (`spoke`; None: nobody looked) and what its events listed (`counts`); of a
        whole answer both are found in `root`.
        """
        found = self._fields.pick(raw)
        for head, places in self._beside:
            if head in root:
                for path, component, get in places:
                    if (value := get(root)) is not None:
                        found.odd += ((path, component, 1, value),)
        if counts is None and self._counts_elements:
            counts = self._count_elements(root, facts.model)
        values = found.values
        if found.odd or found.disagreements or not found.plain or counts or (values and min(values.values()) < 0):
            return self._settle_odd(found, raw, facts, root, partial, spoke, counts or {})
        flags: list[str] = []
        self._totals.apply(values, flags)
        if values.get("input_tokens") == 0 or (values.get("output_tokens") == 0 and self._zero_is_told):
            self._doubt(values, flags, facts, root, spoke)
        if facts.tier is not None and self._tiers is not None:
            self._check_tier(facts.tier, flags)
        if not values or (facts.error is not None and not any(values.values())):
            return self._unreadable(found, raw, facts, root, flags, ())
        if len(values) > 2 and suspicious(values):
            flags.extend(f"contradiction: {text}" for text in checked_usage(values).contradictions())
        usage = checked_usage(values, sources=PARTIAL_OUTPUT) if partial else checked_usage(values)
        return Extracted(
            usage, _PARTIAL if partial else _REPORTED, facts.model, facts.tier, None, found.unknown,
            tuple(flags), None, raw, facts.finish, facts.id, EMPTY, self.api.id, facts.error,
        )  # fmt: skip

    def _settle_odd(
        self,
        found: Found,
        raw: dict[str, Any],
        facts: Facts,
        root: dict[str, Any],
        partial: bool,
        spoke: bool | None,
        counts: dict[str, int | Decimal],
    ) -> Extracted:
        """As `settle`, where there is more than plain token counts."""
        flags = [f"disagreement: {text}" for text in found.disagreements]
        unread: list[str] = []
        words: dict[str, Any] = {}
        read_odd(found, words, flags, unread)
        values = found.values
        for component, count in counts.items():
            values.setdefault(component, count)
        for name in self._tier_counts:
            if values.pop(name, None) is not None:
                words.setdefault("tier", name[5:])
        if values and min(values.values()) < 0:
            self._totals.drop_negatives(values, flags)
        self._totals.apply(values, flags)
        if values.get("input_tokens") == 0 or (values.get("output_tokens") == 0 and self._zero_is_told):
            self._doubt(values, flags, facts, root, spoke)
        refused = facts.error is not None and not any(values.values())
        upstream = [(name[14:], values.pop(name)) for name in self._upstream if name in values]
        usage, cost = make_usage(values, flags, partial)
        if usage is None and cost is not None and self._instead and (pieces := self._instead.of(root)):
            usage, _ = make_usage(dict(pieces), flags, partial)
        if cost is not None and words.get("params.is_byok") is True:
            cost = with_upstream(cost, upstream, flags)
        if (usage is None or refused) and cost is None:
            return self._unreadable(found, raw, facts, root, flags, unread)
        tier, params = self._worded(words, facts.tier, flags)
        source = Source.NONE if usage is None else Source.PARTIAL if partial else Source.REPORTED
        return Extracted(
            usage, source, words.get("model", facts.model), tier, cost, found.unknown, tuple(flags[:_FLAGS_MOST]),
            "; ".join(unread) or None, raw, facts.finish, facts.id, params, self.api.id, facts.error,
        )  # fmt: skip

    def _doubt(
        self, values: dict[str, Any], flags: list[str], facts: Facts, root: dict[str, Any], spoke: bool | None
    ) -> None:
        if spoke is False and values.get("output_tokens") == 0:
            spoke = any(text for _, text in self.api.texts(root))
        self._totals.drop_zeros(values, flags, spoke=spoke, refused=facts.error is not None)

    def _unreadable(
        self,
        found: Found,
        raw: dict[str, Any],
        facts: Facts,
        root: dict[str, Any],
        flags: list[str],
        unread: Iterable[str],
    ) -> Extracted:
        if facts.error is None and self._instead and (counts := self._instead.of(root)):
            return self.pieces(counts, facts)._replace(raw=raw, unknown_fields=found.unknown)
        if facts.error is not None:
            reason = f"the answer is an error ({facts.error}) without usage"
        else:
            zeros = any(flag.startswith("impossible_zero") for flag in flags)
            none = (
                "the usage is of zero tokens, which cannot be"
                if zeros
                else "the usage object has none of the known fields"
            )
            reason = "; ".join(unread) or none
        answer = self.nothing(facts, reason, raw)
        return answer._replace(unknown_fields=found.unknown, flags=tuple(flags[:_FLAGS_MOST]))

    def _worded(
        self, words: dict[str, Any], tier: str | None, flags: list[str]
    ) -> tuple[str | None, Mapping[str, Any]]:
        """The tier and the parameters that the vendor's words mean."""
        params: dict[str, Any] = {}
        for name, word in words.items():
            key = name.removeprefix("params.")
            word = self.api.values.get(key, EMPTY).get(str(word), word)
            if word == "":
                continue
            if name == "tier":
                tier = tier or str(word)
            elif name.startswith("params."):
                params[key] = word
                if (known := self.api.known.get(key)) is not None and str(word) not in known:
                    flags.append(f"unknown_word: {key} is {str(word)[:40]!r}")
        if tier is not None:
            self._check_tier(tier, flags)
        return tier, params

    def _check_tier(self, tier: str, flags: list[str]) -> None:
        if self._tiers is not None and tier not in self._tiers:
            flags.append(f"unknown_word: service tier is {tier[:40]!r}")

    def _why_not(self, root: dict[str, Any], error: str | None) -> str:
        if error is not None:
            return f"the answer is an error ({error}) without usage"
        usage = root.get("usage")
        return f"usage is {shown(usage)}, which says nothing" if usage is not None else "the answer has no usage"
