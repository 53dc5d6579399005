"""The price war of May 2024, recomputed from the price book.

Each line is a statement of the Chinese press of May and June 2024 with our figure beside it; a statement that does
not hold exactly is shown as such. Nothing is converted: where yuan are compared with dollars, the line names the
exchange rates at which the statement holds.

    python examples/price_war.py
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import tokenmeter
from tokenmeter import Usage

M = 1_000_000
RELEASE = "2024-05-06"  # of DeepSeek-V2


@dataclass(frozen=True)
class Statement:
    said: str
    figure: str
    holds: bool


def amount(provider: str, model: str, day: str, tokens_in: int = 0, tokens_out: int = 0) -> Decimal:
    """What these tokens cost on that day. Raises LookupError with the book's reason if it does not know."""
    usage = Usage(input_tokens=tokens_in, output_tokens=tokens_out)
    cost = tokenmeter.price(usage, provider=provider, model=model, at=day)
    if cost.total is None:
        raise LookupError(f"{provider} {model} on {day}: {cost.reason}")
    return cost.total.amount.normalize()


def fall(
    provider: str, model: str, before: str, after: str, *, output: bool = False
) -> tuple[Decimal, Decimal, Decimal]:
    """Price per million tokens before and after, and by how many percent it fell."""
    tokens = {"tokens_out": M} if output else {"tokens_in": M}
    old, new = amount(provider, model, before, **tokens), amount(provider, model, after, **tokens)
    return old, new, (old - new) / old * 100


def cut(
    said: str, provider: str, model: str, before: str, after: str, percent: str | None, *, output: bool = False
) -> Statement:
    """A statement about a cut, in percent where the press named one."""
    old, new, fell = fall(provider, model, before, after, output=output)
    figure = f"{old:f} -> {new:f} CNY per million, {-fell:.1f}%"
    return Statement(said, figure, percent is None or round(fell, 1) == Decimal(percent))


def hundredth(name: str, model: str) -> Statement:
    """DeepSeek-V2 against a model sold in dollars: a million tokens in and a million out, on the day it came out.

    One percent, rounded, is any share from 0.5% to 1.5%; a dollar bought some seven yuan that year.
    """
    yuan = amount("deepseek", "deepseek-chat", RELEASE, M, M)
    dollars = amount("openai", model, RELEASE, M, M)
    low, high = (yuan / (dollars * share) for share in (Decimal("0.015"), Decimal("0.005")))
    figure = f"{yuan:f} CNY against {dollars:f} USD: 1% at any rate from {low:.1f} to {high:.1f} CNY for one USD"
    return Statement(f"DeepSeek-V2 costs about a hundredth of {name}", figure, low < 7 < high)


def statements() -> list[Statement]:
    """What was said, and what the book says."""
    bought = Decimal(1) / amount("alibaba", "qwen-long", "2024-05-21", 1)
    thousand = amount("volcengine", "doubao-pro-32k", "2024-05-15", 1000)
    glm_before = amount("zhipu", "glm-3-turbo", "2024-05-10", M)
    glm_after = amount("zhipu", "glm-3-turbo", "2024-05-11", M)
    free = {
        "ERNIE Speed is free (Baidu, 21 May)": amount("baidu", "ERNIE-Speed", "2024-05-21", M, M),
        "ERNIE Lite is free (Baidu, 21 May)": amount("baidu", "ERNIE-Lite", "2024-05-21", M, M),
        "Spark Lite is free (iFlytek, 22 May)": amount("iflytek", "spark-lite", "2024-05-22", M, M),
        "Hunyuan-lite is free (Tencent, 22 May)": amount("tencent", "hunyuan-lite", "2024-05-22", M, M),
    }
    may = ("2024-05-20", "2024-05-21")
    return [
        Statement("One yuan buys 2 million tokens of Qwen-Long input", f"{bought:,.0f} tokens", bought == 2 * M),
        Statement(
            "0.8 li (0.0008 CNY) buys 1,000 tokens of Doubao-pro-32k",
            f"{thousand:f} CNY",
            thousand == Decimal("0.0008"),
        ),
        cut("Qwen-Long's input falls by 97%", "alibaba", "qwen-long", *may, "97"),
        cut("Qwen-Long's input falls by 97.5%", "alibaba", "qwen-long", *may, "97.5"),
        cut("Qwen-Long's output falls by 90%", "alibaba", "qwen-long", *may, "90", output=True),
        cut("Qwen-Max's input falls by 67%", "alibaba", "qwen-max", "2024-05-20", "2024-06-01", "67"),
        cut("Hunyuan-standard's input falls by 55%", "tencent", "hunyuan-standard", "2024-05-21", "2024-05-22", "55"),
        cut(
            "Hunyuan-standard's output falls by 50%",
            "tencent", "hunyuan-standard", "2024-05-21", "2024-05-22", "50", output=True,
        ),
        Statement(
            "GLM-3-Turbo goes from 5 to 1 CNY per million (Zhipu, 11 May)",
            f"{glm_before:f} -> {glm_after:f} CNY per million",
            (glm_before, glm_after) == (5, 1),
        ),
        *(Statement(said, f"{paid:f} CNY for a million in and out", paid == 0) for said, paid in free.items()),
        hundredth("GPT-4", "gpt-4"),
        hundredth("GPT-4 Turbo", "gpt-4-turbo"),
    ]  # fmt: skip


def main() -> None:
    for statement in statements():
        print(f"{'holds    ' if statement.holds else 'not quite'}  {statement.said}")
        print(f"           {statement.figure}")


if __name__ == "__main__":
    main()
