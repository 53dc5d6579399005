"""The goals of counting: which recordings are judged, and the share of counts that is right, by family.

Used by `truth.py --goals`. A recording is set aside by a written criterion only, which the command lists with counts.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from truth import Row, billed_input, model_of, near, share, text_counter

from tokenmeter.tokens.families import load_family
from tokenmeter.tokens.requests.bodies import read

SELF_HOSTED = ("self-hosted", "local", "llamacpp", "ollama", "gpustack", "mistralrs", "vllm")


def _text_billed_below(case: Mapping[str, Any]) -> bool:
    """The figure is smaller than the message text alone can be: another call's, or one typed by hand."""
    true = billed_input(case)
    if not true or not case["request"]:
        return False
    prompt = read(case["request"], case["api"])
    least = sum(text_counter().count(text) for message in prompt.messages for text in message.texts)
    return true < 0.6 * least


def _media_unmarked(case: Mapping[str, Any]) -> bool:
    body = json.dumps(case["request"] or {})
    return not case["has_media"] and any(
        mark in body for mark in ("data:image/", "wordprocessingml", "application/pdf")
    )


def _no_text(case: Mapping[str, Any]) -> bool:
    body = case["request"]
    return bool(body) and not any(
        body.get(key) for key in ("messages", "input", "contents", "prompt", "message", "inputText", "Messages")
    )


def _stored_items(case: Mapping[str, Any]) -> bool:
    """Items of which the vendor keeps the content: compactions, and reasoning replayed by its id."""
    items = (case["request"] or {}).get("input")
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict) and (
            item.get("type") == "compaction"
            or (item.get("type") == "reasoning" and not item.get("content") and not item.get("encrypted_content"))
        ):
            return True
    return False


def _summary_for_reasoning(case: Mapping[str, Any]) -> bool:
    """The visible thoughts are not those that were billed."""
    usage = case["usage"]
    details = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    billed, text = details.get("reasoning_tokens"), case["output"].get("reasoning") or ""
    return bool(text and billed) and abs(text_counter().count(text) - billed) > 0.3 * billed + 10


def _task_api(case: Mapping[str, Any]) -> bool:
    """Tencent's APIs for one task each write that task around the text."""
    return case["api"] in ("tencent.GroupChatCompletions", "tencent.QueryRewrite", "tencent.ChatTranslations")


def runs_tools(case: Mapping[str, Any]) -> bool:
    """Groq's compound models search and run code on the vendor's side, behind a prompt of their own."""
    return case["vendor"] == "groq" and "compound" in model_of(case)


Criteria = tuple[tuple[str, Callable[[Mapping[str, Any]], bool]], ...]
SET_ASIDE: Criteria = (
    ("a server of the author's own", lambda case: case["vendor"] in SELF_HOSTED),
    ("a body without text", _no_text),
    ("billed less than 60% of its own message text", _text_billed_below),
    ("content that the vendor keeps and the body does not show", _stored_items),
    ("an image or a file in a tool result, not marked as media", _media_unmarked),
    ("an API for one task, with a prompt of its own", _task_api),
    ("a model that runs the vendor's own tools", runs_tools),
    ("a call of which no model is named", lambda case: not model_of(case)),
)
SET_ASIDE_ANSWERS: Criteria = (
    SET_ASIDE[0],
    (
        "a fixture without its request, which authors edit by hand",
        lambda case: case["kind"] == "fixture" and not case["request"],
    ),
    ("a call of which no model is named", lambda case: not model_of(case)),
    ("thoughts shown as a summary", _summary_for_reasoning),
    ("a host that strips text beside calls", lambda case: case["vendor"] == "groq" and "llama-4" in model_of(case)),
)


def kept(rows: list[Row], criteria: Criteria) -> list[Row]:
    """The rows that no criterion sets aside; prints how many each does."""
    left = []
    dropped: Counter[str] = Counter()
    for row in rows:
        why = next((name for name, test in criteria if test(row.case)), None)
        if why is None:
            left.append(row)
        else:
            dropped[why] += 1
    print("set aside:", ", ".join(f"{name}: {count}" for name, count in dropped.most_common()))
    return left


Parts = tuple[tuple[str, list[Row]], ...]


def parts_of(found: list[Row]) -> Parts:
    """The rows that each column of the table is about."""
    return (
        ("all", found),
        ("without Claude", [row for row in found if not row.family.startswith("claude")]),
        ("own vocabulary", [row for row in found if load_family(row.family).vocabulary]),
        ("none published", [row for row in found if not load_family(row.family).vocabulary]),
    )


def lines_of(rows: list[Row], out: list[Row]) -> Iterable[tuple[str, list[Row], Callable[[Row], bool]]]:
    """Each goal: its name, the rows it is about, and when one is met."""

    def within_2(row: Row) -> bool:
        return abs(row.miss) <= 2

    def within_5(row: Row) -> bool:
        return near(row, row.tokens)

    def either(row: Row) -> bool:
        return within_2(row) or within_5(row)

    def covered(row: Row) -> bool:
        return row.low <= row.true <= row.high

    plain = [row for row in rows if row.kind == "plain"]
    text = [row for row in out if row.kind in ("text", "json text")]
    return (
        ("plain prompts within 2", plain, within_2),
        ("plain prompts within 2 or 5%", plain, either),
        ("prompts with tools within 5%", [row for row in rows if row.kind == "tools"], within_5),
        ("texts of answers within 2", text, within_2),
        ("texts of answers within 2 or 5%", text, either),
        ("calls of answers within 5%", [row for row in out if row.kind == "calls"], within_5),
        ("prompts inside their range", rows, covered),
        ("answers inside their range", out, covered),
    )


def goals(rows: list[Row], out: list[Row], page: Path | None = None) -> None:
    """Print the shares over hosted vendors, by family with 20 cases or more; write them into a page if one is given."""
    rows, out = kept(rows, SET_ASIDE), kept(out, SET_ASIDE_ANSWERS)
    table = ["| | all | without Claude | vocabulary published | none published |", "|---|---|---|---|---|"]
    for title, found, test in lines_of(rows, out):
        shares = [(name, share(part, test).strip(), len(part)) for name, part in parts_of(found)]
        table.append(f"| {title} | " + " | ".join(f"{one} of {count:,}" for _, one, count in shares) + " |")
        print(f"\n{title}")
        for name, one, count in shares:
            print(f"    {name:<16} {one:>5} of {count}")
        families: dict[str, list[Row]] = defaultdict(list)
        for row in found:
            families[row.family].append(row)
        for family, part in sorted(families.items(), key=lambda item: -len(item[1])):
            if len(part) >= 20:
                print(f"    {family:<16} {share(part, test)} of {len(part)}")
    chinese = [row for row in rows + out if row.lang == "zh" and row.kind in ("plain", "text")]
    for family in sorted({row.family for row in chinese}):
        part = [row for row in chinese if row.family == family]
        total = sum(row.true for row in part)
        off = sum(row.tokens for row in part) / total - 1
        print(f"Chinese sum {family:<12} {100 * off:+6.2f}% of {total} ({len(part)})")
    if page is not None:
        rewrite(page, "goals", table)


def rewrite(page: Path, mark: str, lines: Iterable[str]) -> None:
    """Put lines between `<!-- mark -->` and `<!-- /mark -->` of a page."""
    text = page.read_text("utf-8")
    head, _, rest = text.partition(f"<!-- {mark} -->\n")
    _, end, tail = rest.partition(f"<!-- /{mark} -->")
    if not end:
        raise SystemExit(f"{page}: there is no <!-- {mark} --> … <!-- /{mark} -->")
    page.write_text(f"{head}<!-- {mark} -->\n" + "\n".join(lines) + f"\n{end}{tail}", "utf-8")
