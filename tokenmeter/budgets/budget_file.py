"""Reads budgets from a TOML file: one table per budget, under its name.

[search]
limit = "50 CNY"
per = "day"
timezone = "Asia/Shanghai"
where = { team = "search" }
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tokenmeter._support.arguments import check_items
from tokenmeter.budgets.budget import Budget
from tokenmeter.budgets.limits import BudgetLimit
from tokenmeter.errors import ConfigurationError

__all__ = ["KEYS", "read_budgets"]

KEYS: Final = tuple(name for name in inspect.signature(Budget).parameters if name != "name")
"""What a table may hold."""


def read_budgets(value: object, place: str) -> tuple[Budget, ...]:
    """Budgets from a path, or from an iterable of `Budget`, of texts such as `"50 CNY"`, and of mappings.

    Raises ConfigurationError naming the file and the budget, and where two budgets have one name.
    """
    if isinstance(value, str | Path) and not _is_limit(value):
        budgets = _from_file(Path(value), place)
    elif isinstance(value, Budget | str):
        budgets = [_one(value, place)]
    else:
        what = 'a list of Budget("50 CNY", name=…, per=…), or a TOML file'
        given = check_items(value if not isinstance(value, Mapping) else None, place, what)
        budgets = [_one(one, place) for one in given]
    names = [budget.name for budget in budgets]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigurationError(f"{place}: two budgets are named {sorted(twice)[0]!r}; give each a name of its own")
    return tuple(budgets)


def _is_limit(value: object) -> bool:
    return isinstance(value, str) and value[:1].isdigit() and Path(value).suffix != ".toml"


def _one(value: object, place: str) -> Budget:
    if isinstance(value, Budget):
        return value
    if isinstance(value, Mapping):
        return _from_table(dict(value), str(value.get("name", "")), place)
    if isinstance(value, str):
        return Budget(BudgetLimit.read(value, place))
    raise ConfigurationError(f'{place}: {value!r:.200} is no budget; write Budget("50 CNY", name=…, per=…)')


def _from_file(path: Path, place: str) -> list[Budget]:
    import tomllib

    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"{place}={str(path)!r} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    if not tables:
        raise ConfigurationError(f'{path}: no budget; write a table such as [search] with limit = "50 CNY"')
    return [_from_table(table, name, str(path)) for name, table in tables.items()]


def _from_table(table: Any, name: str, place: str) -> Budget:
    where = f"{place}: budget {name!r}"
    if not isinstance(table, Mapping):
        raise ConfigurationError(f'{where} is no table; write [{name}] and below it limit = "50 CNY"')
    given = {key: value for key, value in table.items() if key != "name"}
    for key in given:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ConfigurationError(f"{where}: {key!r} is no key of a budget; {hint}keys are {', '.join(KEYS)}")
    if "limit" not in given:
        raise ConfigurationError(f'{where} has no limit; write limit = "50 CNY"')
    limit = given.pop("limit")
    try:
        return Budget(limit, name=name, **given)
    except ConfigurationError as error:
        raise ConfigurationError(f"{place}: {error}") from None
