"""Corrects our token counts by the counts that vendors report, per provider, model and script. Off unless asked for.

Built by `wiring` (`configure(calibrate=True)`), asked by `calls` when a record's usage is counted, shown by
`tokenmeter calibration`. Read `calibration.py` first; `fit` is the arithmetic, `store` keeps the pairs;
`tokenmeter.calls.calibrator` chooses the calls to learn from. To keep pairs elsewhere, pass an object with the
methods of `Store`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tokenmeter.tokens.calibration.calibration import Calibration
    from tokenmeter.tokens.calibration.fit import Fit, Pair
    from tokenmeter.tokens.calibration.store import Change, FileStore, Key, MemoryStore, Store

__all__ = ["Calibration", "Change", "FileStore", "Fit", "Key", "MemoryStore", "Pair", "Store"]

_HOMES: Final = {
    "Calibration": "calibration",
    **dict.fromkeys(("Fit", "Pair"), "fit"),
    **dict.fromkeys(("Change", "FileStore", "Key", "MemoryStore", "Store"), "store"),
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)
