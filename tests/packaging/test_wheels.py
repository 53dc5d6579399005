"""The wheels hold what an installation needs, and a newer data-only book takes the place of the built-in one."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tokenmeter._support.data_files import CATALOG
from tokenmeter.prices.edition import edition_of
from tokenmeter.tokens.families import read_family

ROOT = Path(__file__).parents[2]
pytest.importorskip("hatchling", reason="builds the wheels")


def build(project: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=project, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data-only wheel, unpacked."""
    folder = tmp_path_factory.mktemp("prices")
    wheel = build(ROOT / "packaging" / "tokenmeter-prices", folder)
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the SDK, unpacked."""
    folder = tmp_path_factory.mktemp("sdk")
    wheel = build(ROOT, folder)
    assert wheel.stat().st_size < 15 * 1024 * 1024
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def run(code: str, *paths: Path) -> str:
    program = f"import sys; sys.path[:0] = {[str(path) for path in paths]!r}\n{code}"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


PRICE = """
import tokenmeter
from tokenmeter import Usage
million = Usage(input_tokens=10**6, output_tokens=0)
cost = tokenmeter.price(million, provider="dashscope", model="qwen-long", at="2024-06-01")
print(cost.total, cost.book.partition("+")[0], tokenmeter.__file__)
"""


def test_an_installed_wheel_prices_and_counts(sdk: Path) -> None:
    out = run(PRICE, sdk)
    assert out.startswith("0.5 CNY 2026-")
    assert str(sdk) in out
    names = {str(path.relative_to(sdk)) for path in sdk.rglob("*") if path.is_file()}
    assert "tokenmeter/_compiled/providers.json" in names
    assert not {
        name
        for name in names
        if name.startswith(("tokenmeter/prices/", "tokenmeter/providers/", "tokenmeter/wire/"))
        and name.endswith(".toml")
    }
    assert not {name for name in names if name.startswith("tokenizers/")}, "that name belongs to others"
    code = 'import tokenmeter; print(tokenmeter.count("你好，世界", model="qwen-plus"))'
    assert "method='exact'" in run(code, sdk)


def test_an_installed_wheel_shows_the_evidence_of_a_price(sdk: Path, prices: Path) -> None:
    code = """
from tokenmeter.cli import main
main(["prices", "why", "alibaba", "qwen-long", "--at", "2024-06-01"])
"""
    for paths in ((sdk,), (prices, sdk)):
        out = run(code, *paths)
        assert "won: gave a price of this rate" in out
        assert "input 0.5" in out


def test_the_notice_of_every_vocabulary_travels_with_it(sdk: Path) -> None:
    info = next(sdk.glob("*.dist-info"))
    metadata = (info / "METADATA").read_text("utf-8")
    named = next(line for line in metadata.splitlines() if line.startswith("License-Expression: "))
    with_vocabulary = [path for path in (sdk / "tokenmeter/tokens/_data").glob("*.toml") if path.stem != "models"]
    families = [read_family(path, path.stem) for path in with_vocabulary]
    shipped = [family for family in families if family.vocabulary and family.shipped]
    assert len(shipped) >= 12
    for family in shipped:
        assert family.notice, family.name
        notice = (info / "licenses" / "licenses" / family.notice).read_text("utf-8")
        spdx = notice.partition("SPDX-License-Identifier: ")[2].partition("\n")[0]
        assert spdx in named.partition(": ")[2].split(" AND "), family.name
        assert "Copyright" in notice
        assert spdx.startswith("Apache") == family.licence.startswith("Apache"), family.name
        assert family.name in notice.partition("\n")[0], family.name


def test_the_compiled_book_is_the_book(sdk: Path) -> None:
    code = """
from tokenmeter.prices.book import load_book
from tokenmeter.providers.registry import load_providers
print(load_book().version, len(load_providers().by_id))
"""
    assert run(code, sdk) == run(code, ROOT)


@pytest.mark.parametrize(
    ("read", "serial", "schema", "taken"),
    [
        pytest.param("2099-01-01", 1, 1, True, id="newer"),
        pytest.param(None, 999, 1, True, id="a higher serial of the same day"),
        pytest.param("2020-01-01", 1, 1, False, id="older"),
        pytest.param("2099-01-01", 1, 2, False, id="another format"),
    ],
)
def test_a_newer_book_beside_the_package_is_used(
    prices: Path, sdk: Path, read: str | None, serial: int, schema: int, taken: bool
) -> None:
    book = prices / "tokenmeter_prices" / "_compiled" / "book.json"
    whole = json.loads(book.read_text("utf-8"))
    assert whole["schema"] == 1
    day = read or edition_of(CATALOG).day
    book.write_text(json.dumps({**whole, "read": day, "serial": serial, "schema": schema}), "utf-8")
    for package in (ROOT, sdk):
        out = run(PRICE, prices, package)
        assert out.startswith("0.5 CNY")
        assert (f" {day}.{serial} " in out) is taken
    book.write_text(json.dumps(whole), "utf-8")


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data wheel as `make prices-wheel` builds it, in an environment of its own, beside its list of digests."""
    folder = tmp_path_factory.mktemp("released")
    done = release(folder)
    if done.returncode and "hatchling" in done.stderr and "No matching distribution" in done.stderr:
        pytest.skip("pip reaches no index that has hatchling")
    assert done.returncode == 0, done.stderr
    return folder


def release(folder: Path) -> subprocess.CompletedProcess[str]:
    script = str(ROOT / "packaging" / "tokenmeter-prices" / "release.py")
    command = [sys.executable, script, "--to", str(folder), "--sums", str(folder / "SHA256SUMS")]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def test_the_data_wheel_builds_in_a_clean_environment_and_is_listed(released: Path) -> None:
    (wheel,) = released.glob("*.whl")
    assert wheel.name == f"tokenmeter_prices-{edition_of(CATALOG).release}-py3-none-any.whl"
    assert wheel.stat().st_size < 1024 * 1024
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert (released / "SHA256SUMS").read_text("utf-8") == f"{digest}  {wheel.name}\n"


def test_a_released_name_is_never_given_to_another_book(released: Path) -> None:
    sums = released / "SHA256SUMS"
    was = sums.read_text("utf-8")
    assert release(released).returncode == 0  # the same bytes again
    assert sums.read_text("utf-8") == was
    sums.write_text("0" * 64 + was[64:], "utf-8")
    done = release(released)
    assert done.returncode == 1
    assert "is listed with the digest 0000" in done.stderr
