"""Settings: each row has a variable, an argument wins over it, and a name that is no setting is refused."""

from __future__ import annotations

import pytest

import tokenmeter.settings
from tokenmeter import ConfigurationError
from tokenmeter.settings import SETTINGS, Settings


def test_an_unknown_name_is_refused_with_the_nearest_setting() -> None:
    with pytest.raises(ConfigurationError, match=r"'ledgr' is not a setting; did you mean ledger\? the settings are"):
        Settings.read({"ledgr": "x"}, {})


def test_settings_do_not_change() -> None:
    with pytest.raises(AttributeError, match="make another meter with ledger="):
        Settings.read({}, {}).ledger = "x.db"


def test_the_book_alone_reads_the_variable_of_prices() -> None:
    assert Settings.read({}, {"TOKENMETER_PRICES": "x.toml"}).prices is None


def test_the_help_of_the_module_lists_every_setting() -> None:
    lines = (tokenmeter.settings.__doc__ or "").splitlines()
    for setting in SETTINGS:
        assert any(line.split()[:2] == [setting.name, setting.variable] for line in lines if line)
