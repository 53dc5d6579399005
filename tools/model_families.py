"""Lists every model name of the price book and of recorded calls with its tokenizer family, for review.

    python tools/model_families.py              write tests/data/model_families.tsv anew
    python tools/model_families.py CASES …      add the names of recorded calls (`benchmarks/truth.py` says which files)

Names found in recordings stay in the table, so the recordings are not needed to write it anew. A test compares the
table with what `tokenizers/models.toml` says now: a change of one entry shows every name whose family it changes.
"""

from __future__ import annotations

import gzip
import json
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from tokenmeter.providers.registry import load_providers
from tokenmeter.tokens.families import match_model

__all__ = ["TABLE", "priced_models", "read_table", "rows"]

ROOT: Final = Path(__file__).parents[1]
TABLE: Final = ROOT / "tests/data/model_families.tsv"
HEAD: Final = "provider\tmodel\tfamily\tfound by\tknown from\n"
BOOK, RECORDED = "price book", "recordings"


def priced_models() -> Iterator[tuple[str, str]]:
    """Every provider and model, or alias, of the price book that has a rate per token."""
    for path in sorted((ROOT / "tokenmeter/prices/data").glob("*.toml")):
        with path.open("rb") as file:
            stack: list[Any] = [tomllib.load(file)]
        while stack:
            item = stack.pop()
            if isinstance(item, dict):
                names = item.get("model", item.get("models", item.get("id")))
                if "input" in item or "output" in item or {"of", "model"} <= item.keys():
                    listed = names if isinstance(names, list) else [names]
                    yield from ((path.stem, name) for name in listed if isinstance(name, str))
                stack.extend(item.values())
            elif isinstance(item, list):
                stack.extend(item)


def recorded_models(path: Path) -> Iterator[tuple[str, str]]:
    """The provider and model of every recorded call of a file."""
    providers = load_providers()
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            case = json.loads(line)
            known = providers.get(case["vendor"])
            provider = case["vendor"] if known is None else known.id
            for name in (case["model_requested"], case["model_returned"]):
                if name and name.isprintable():
                    yield provider, name


def read_table() -> dict[tuple[str, str], tuple[str, str, str]]:
    """The table as it is: family, how it was found and where the name is from, by provider and model."""
    lines = TABLE.read_text("utf-8").splitlines()[1:] if TABLE.exists() else []
    table = {}
    for line in lines:
        provider, model, *rest = line.split("\t")
        table[provider, model] = (rest[0], rest[1], rest[2])
    return table


def rows(recorded: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, str, str]]:
    """The table as it should be: the price book's names, and those found in recordings."""
    places = dict.fromkeys(recorded, RECORDED) | dict.fromkeys(priced_models(), BOOK)
    table = {}
    for provider, model in sorted(places):
        found = match_model(model, provider)
        table[provider, model] = (found.family, found.by, places[provider, model])
    return table


def main(paths: list[str]) -> int:
    kept = {key for key, row in read_table().items() if row[2] == RECORDED}
    kept.update(key for path in paths for key in recorded_models(Path(path)))
    table = rows(kept)
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text(HEAD + "".join("\t".join((*key, *row)) + "\n" for key, row in table.items()), "utf-8")
    print(f"{TABLE.relative_to(ROOT)}: {len(table)} names")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
