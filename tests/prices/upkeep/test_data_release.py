"""`tokenmeter prices update` takes the newest data wheel from pip's index, if it is what was pinned, and nothing else.

The index is a real HTTP server, pip the real one, and what is installed goes into an environment of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.package_index import PUBLISHER, PackageIndex, serving
from tokenmeter._support.data_files import CATALOG
from tokenmeter.errors import CatalogError
from tokenmeter.prices.edition import edition_of
from tokenmeter.prices.upkeep.compile import compile_book
from tokenmeter.prices.upkeep.data_release import book_of_wheel

ROOT = Path(__file__).parents[3]
OWN = edition_of(CATALOG)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiled")
    compile_book(folder)
    return folder


def wheel_of(compiled: Path, folder: Path, serial: int, more: Mapping[str, str] | None = None) -> Path:
    """A data wheel of the checkout's book under another serial, with `more` files in it."""
    version = OWN._replace(serial=serial).release
    info = f"tokenmeter_prices-{version}.dist-info"
    book = json.loads((compiled / "book.json").read_text("utf-8"))
    files = {
        "tokenmeter_prices/__init__.py": '"""Prices."""\n',
        **{
            f"tokenmeter_prices/_compiled/{path.relative_to(compiled)}": path.read_bytes()
            for path in sorted(compiled.rglob("*"))
            if path.is_file()
        },
        "tokenmeter_prices/_compiled/book.json": json.dumps({**book, "serial": serial}),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tokenmeter-prices\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **(more or {}),
    }
    record = "".join(f"{name},,\n" for name in files)
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"tokenmeter_prices-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
        packed.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return wheel


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    with serving(tmp_path / "wheels", "tokenmeter-prices") as made:
        yield made


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment of its own, with pip."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    return folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"


@pytest.fixture
def update(python: Path, index: PackageIndex) -> Iterator[Callable[..., tuple[int, Any]]]:
    """Runs `tokenmeter prices update` there; gives the status, and the JSON or the error."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "TOKENMETER_"))}
    environment = {
        **own, "PIP_INDEX_URL": index.url, "PIP_CONFIG_FILE": os.devnull, "PYTHONPATH": str(ROOT), "PIP_RETRIES": "0",
    }  # fmt: skip

    def run(*arguments: str) -> tuple[int, Any]:
        command = [str(python), "-m", "tokenmeter", "prices", *(arguments or ("list",))]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        return done.returncode, done.stderr if done.returncode else json.loads(done.stdout)

    yield lambda *flags: run("update", "--json", *flags)
    uninstall = [str(python), "-m", "pip", "uninstall", "--quiet", "--yes", "tokenmeter-prices"]
    subprocess.run(uninstall, capture_output=True, check=True)


def sha256(wheel: Path) -> str:
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def test_the_newest_wheel_is_installed_and_used(index: PackageIndex, compiled: Path, update: Any) -> None:
    wheel_of(compiled, index.folder, OWN.serial + 1)
    newest = wheel_of(compiled, index.folder, OWN.serial + 2)
    status, done = update("--sha256", sha256(newest), "--publisher", PUBLISHER)
    assert (status, done["wheel"], done["installed"]) == (0, newest.name, True), done
    assert done["before"] == OWN.name
    _, again = update("--publisher", PUBLISHER)
    assert (again["before"], again["installed"]) == (done["found"], False)  # the installed one is in use


def test_a_list_of_digests_pins_every_wheel_in_it(
    index: PackageIndex, compiled: Path, update: Any, tmp_path: Path
) -> None:
    wheel = wheel_of(compiled, index.folder, OWN.serial + 1)
    sums = tmp_path / "SHA256SUMS"
    sums.write_text(f"{'0' * 64}  other.whl\n{sha256(wheel)}  {wheel.name}\n")
    status, done = update("--sums", str(sums), "--to", str(tmp_path / "kept"))
    assert (status, done["installed"], done["kept_in"]) == (0, False, str(tmp_path / "kept")), done
    assert (tmp_path / "kept" / wheel.name).read_bytes() == wheel.read_bytes()
    sums.write_text(f"{sha256(wheel)}  other.whl\n")
    assert "is not in the list of digests" in update("--sums", str(sums))[1]


def test_a_wheel_that_is_not_what_was_pinned_is_not_installed(index: PackageIndex, compiled: Path, update: Any) -> None:
    wheel_of(compiled, index.folder, OWN.serial + 1)
    refused = {
        "say what you trust": update(),
        "not the pinned 0000": update("--sha256", "0" * 64),
        "published by example/tokenmeter, not by other/project": update("--publisher", "other/project"),
    }
    index.attested = "0" * 64
    refused["published by nobody"] = update("--publisher", PUBLISHER)
    index.publisher = ""
    refused["does not say who published it"] = update("--publisher", PUBLISHER)
    for message, (status, error) in refused.items():
        assert status == 2
        assert message in error
    assert update("--sha256", "0" * 64)[0] == 2


def test_a_book_that_is_no_newer_is_left_where_it_is(index: PackageIndex, compiled: Path, update: Any) -> None:
    status, done = update("--sha256", sha256(wheel_of(compiled, index.folder, OWN.serial)))
    assert (status, done["installed"]) == (0, False), done


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"tokenmeter_prices/__init__.py": "import os\n"}, "holds a program"),
        ({"tokenmeter_prices/extra.py": ""}, "is not a price file"),
        ({"run.pth": "import os"}, "is not a price file"),
        ({"tokenmeter_prices/../../evil.json": "{}"}, "leads out of its folder"),
        ({"tokenmeter_prices-1.dist-info/entry_points.txt": "[console_scripts]"}, "installs commands"),
        ({"tokenmeter_prices/_compiled/prices/deepseek.json": '{"provider": "deepseek"}'}, "deepseek"),
    ],
)
def test_a_wheel_with_more_than_sound_prices_is_refused(
    compiled: Path, tmp_path: Path, more: dict[str, str], message: str
) -> None:
    wheel = wheel_of(compiled, tmp_path, OWN.serial + 1, more)
    with pytest.raises(CatalogError, match=message):
        book_of_wheel(wheel, tmp_path / "unpacked")


def test_a_file_that_is_no_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.whl").write_text("no")
    with pytest.raises(CatalogError, match="not a wheel"):
        book_of_wheel(tmp_path / "x.whl", tmp_path / "unpacked")
