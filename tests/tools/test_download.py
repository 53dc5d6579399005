"""The newest package of a source and the day it was published, from a real index by pip and from a client like npm."""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.rigs.package_index import serving
from tools.price_book.sources.download import fetch
from tools.price_book.sources.reading import SourceError
from tools.price_book.sources.table import SOURCES

SAMPLES = Path(__file__).parents[1] / "data" / "price_sources"


def wheel(folder: Path, version: str) -> None:
    """A package of genai-prices with the recorded sample."""
    name = f"genai_prices-{version}"
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as packed:
        packed.write(SAMPLES / "genai-prices.txt", SOURCES["genai-prices"].file)
        packed.writestr(
            f"{name}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: genai-prices\nVersion: {version}\n"
        )
        packed.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        packed.writestr(f"{name}.dist-info/RECORD", "")


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")


@pytest.mark.usefixtures("pip")
def test_the_newest_wheel_is_read_and_dated_by_its_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path / "wheels", "genai-prices") as index:
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        wheel(index.folder, "0.1.0")
        wheel(index.folder, "0.2.0")
        path, version, day = fetch(SOURCES["genai-prices"], tmp_path / "here")
    assert (version, day) == ("0.2.0", "2026-11-20")
    assert SOURCES["genai-prices"].read(path).readings


@pytest.mark.usefixtures("pip")
def test_a_wheel_of_which_nobody_says_when_it_was_published_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path / "wheels", "genai-prices") as index:
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        wheel(index.folder, "0.2.0")
        index.uploaded = ""
        with pytest.raises(SourceError, match="does not say when"):
            fetch(SOURCES["genai-prices"], tmp_path / "here")


NPM = """#!/bin/sh
case "$1" in
  view) cat <<'END'
{"created": "2025-01-01T00:00:00Z", "modified": "2026-11-25T00:00:00Z",
 "0.74.2": "2026-05-08T00:00:00Z", "1.6.0": "2026-11-20T11:05:00Z", "2.0.0-beta.1": "2026-11-24T00:00:00Z"}
END
  ;;
  pack) [ "$5" = "@earendil-works/pi-ai@1.6.0" ] && cp "{package}" "$4/earendil-works-pi-ai-1.6.0.tgz" ;;
esac
"""


@pytest.mark.skipif(os.name == "nt", reason="the client is a shell script")
def test_the_version_published_last_is_taken_whatever_the_mirror_calls_latest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, package = SOURCES["pi-ai"], tmp_path / "package.tgz"
    with tarfile.open(package, "w:gz") as tar:
        tar.add(SAMPLES / "pi-ai", f"package/{source.file}")
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(NPM.replace("{package}", str(package)), encoding="utf-8")
    npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(npm.parent), prepend=os.pathsep)
    (tmp_path / "here").mkdir()
    path, version, day = fetch(source, tmp_path / "here")
    assert (version, day) == ("1.6.0", "2026-11-20")
    assert source.read(path) == source.read(SAMPLES / "pi-ai")
