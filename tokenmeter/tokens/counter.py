"""How one model's text is counted: the vocabulary, the grade of the answer and its range.

`counter(model, provider)` is what request counting, streams and the command line build on. It finds the model's
family by data (`tokenizers/models.toml`) and loads a vocabulary only when something is counted.
"""

from __future__ import annotations

from tokenmeter.tokens.ratio import RatioTally
from tokenmeter.usage import TokenCount

__all__ = ["Counter", "counter"]


class Counter:
    """Counts text of one model. Cheap to make; the vocabulary is loaded by the first `count`.

    `family` is the vocabulary counted with (None for a ratio), `method` is `exact`, `stand-in` or `ratio`, and
    `family_name` is the family the model belongs to, which chat templates are chosen by (`claude` for Claude even
    where its text is counted with another vocabulary).
    """

    __slots__ = ("family", "family_name", "method", "model", "provider", "reason")

    def __init__(self, *, model: str, provider: str | None, family: str | None, family_name: str, method: str) -> None:
        self.model = model
        self.provider = provider
        self.family = family
        self.family_name = family_name
        self.method = method
        self.reason: str | None = None

    def count(self, text: str, *, markers: bool = False) -> int:
        """Tokens of a text (the best guess, where not exact).

        `markers=True` reads the family's special tokens (`<|im_start|>`) as one token each, as a rendered template
        needs; otherwise they are counted as the family's server counts them in what a user typed.
        """
        return self.estimate(text).tokens or 0

    def band(self, tokens: int, text: str = "") -> tuple[int, int]:
        """Low and high around a count of this counter, for text of that script."""
        return tokens, tokens

    def estimate(self, text: str) -> TokenCount:
        """Tokens of a text with low, high, method and family."""
        tally = RatioTally()
        tally.feed(text)
        tokens, low, high = tally.ratio()
        return TokenCount(tokens, low, high, "ratio", self.family)


def counter(model: str, provider: str | None = None) -> Counter:
    """The counter of a model, cached. Never raises on an unknown model: it gets a stated stand-in, widely ranged."""
    return Counter(model=model, provider=provider, family=None, family_name="unknown", method="ratio")
