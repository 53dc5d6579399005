"""Runs a function when a module has been imported: a finder before the others, which asks them and wraps the loader."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

__all__ = ["when_imported"]

Imported = Callable[[ModuleType], None]


def when_imported(name: str, imported: Imported) -> None:
    """Have `imported` called with the module of this name once its code has run. It must not raise.

    Another function for the same name takes the place of the one before.
    """
    _finder.waiting[name] = imported
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


class _Finder:
    """Finds what the others find. Any import passes here: a name that nobody waits for costs one look-up."""

    def __init__(self) -> None:
        self.waiting: dict[str, Imported] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec that the first of the other finders gives, with a loader that calls back."""
        if name not in self.waiting:
            return None
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            spec = find(name, path, target) if finder is not self and find is not None else None
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader)
                return spec  # type: ignore[no-any-return]
        return None


_finder: Final = _Finder()


class _Loader:
    """A loader that calls back when the module's code has run. The module keeps the loader it would have had."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the loader does."""
        return self._loader.create_module(spec)  # type: ignore[no-any-return]

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code, then what waits for it."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        imported = _finder.waiting.pop(module.__name__, None)
        if imported is not None:
            imported(module)
