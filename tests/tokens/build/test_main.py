"""Vocabularies are packed from pinned packages, and anything else is refused."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

import pytest

from tokenmeter.errors import CatalogError
from tokenmeter.tokens.build import __main__ as build
from tokenmeter.tokens.engine import build_tokenizer
from tokenmeter.tokens.families import Family
from tokenmeter.tokens.vocab import fingerprint, pack

RANKS = [bytes([byte]) for byte in range(256)] + [b"he", b"ll", b"hell", b"hello"]


def _wheel(folder: Path) -> Path:
    """A wheel with a small rank file, as a registry would send it."""
    folder.mkdir()
    path = folder / "tinyvocab-1.0-py3-none-any.whl"
    lines = b"".join(base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(RANKS))
    entries = {
        "tinyvocab/tiny.tiktoken": lines,
        "tinyvocab-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tinyvocab\nVersion: 1.0\n",
        "tinyvocab-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tinyvocab-1.0.dist-info/RECORD": b"",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in entries.items():
            wheel.writestr(zipfile.ZipInfo(name), data)
    return path


def _family(folder: Path, sha256: str, mark: str) -> Family:
    source = {
        "registry": "pypi", "package": "tinyvocab", "version": "1.0", "sha256": sha256, "fingerprint": mark,
        "file": "tinyvocab/tiny.tiktoken", "format": "tiktoken",
    }  # fmt: skip
    return Family(
        name="tiny", title="Tiny", vocabulary="tiny", tokens=len(RANKS), pattern=r"\S+|\s", source=source,
        path=folder / "tiny.toml",
    )  # fmt: skip


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from, and nothing else."""
    wheel = _wheel(tmp_path / "registry")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return wheel


def test_a_build_fetches_checks_packs_and_can_be_repeated(tmp_path: Path, registry: Path) -> None:
    digest = hashlib.sha256(registry.read_bytes()).hexdigest()
    family = _family(tmp_path, digest, fingerprint(RANKS))
    cache = tmp_path / "cache"
    assert build.build(family, cache) == "tiny: 260 tokens, " + f"{len(pack(RANKS)):,} bytes"
    first = (tmp_path / "tiny.vocab").read_bytes()
    assert build_tokenizer(family).encode("hello hell") == [259, 32, 258]
    assert build.build(family, cache) == "tiny: up to date"
    registry.unlink()  # from the cache, without a registry
    build.build(family, cache, again=True)
    assert (tmp_path / "tiny.vocab").read_bytes() == first


def test_another_archive_is_refused_and_not_kept(tmp_path: Path, registry: Path) -> None:
    family = _family(tmp_path, "0" * 64, fingerprint(RANKS))
    with pytest.raises(CatalogError, match=r"tinyvocab 1\.0: what the registry sent has another sha256"):
        build.build(family, tmp_path / "cache")
    assert not (tmp_path / "tiny.vocab").exists()
    assert not list((tmp_path / "cache").iterdir())


def test_another_vocabulary_is_refused(tmp_path: Path, registry: Path) -> None:
    digest = hashlib.sha256(registry.read_bytes()).hexdigest()
    family = _family(tmp_path, digest, "0123456789abcdef")
    with pytest.raises(CatalogError, match="260 tokens read with fingerprint"):
        build.build(family, tmp_path / "cache")
    assert not (tmp_path / "tiny.vocab").exists()
