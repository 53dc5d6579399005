"""The SDK section of `doctor`: which SDKs are installed, their versions, and which of their methods are hooked."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any

from tokenmeter.clients.table import SDKS, UNSEEN, SupportedSdk

__all__ = ["look"]


def look() -> tuple[dict[str, Any], list[str]]:
    """Install every adapter and find its hooks again: what is there by package, and the problems."""
    from tokenmeter.clients import install_all

    install_all()
    found: dict[str, Any] = {}
    problems = []
    for root, sdk in SDKS.items():
        found[root], problem = _one(root, sdk)
        problems += [problem] if problem else []
    if not any(found[root]["version"] for root, sdk in SDKS.items() if sdk.distribution is not None):
        problems.append("no supported SDK is installed here: run this in your application's environment")
    return found, [*problems, *_unseen()]


def _unseen() -> list[str]:
    """Problems for installed HTTP clients that no hook sees."""
    found = []
    for name, sends_by in UNSEEN.items():
        try:
            there = version(name)
        except PackageNotFoundError:
            continue
        found.append(
            f"{name} {there} sends by {sends_by}, which is not seen: calls made through it are metered by hand, with "
            "tokenmeter.call(provider=..., model=...)"
        )
    return found


def _one(root: str, sdk: SupportedSdk) -> tuple[dict[str, Any], str | None]:
    try:
        there = version(sdk.distribution) if sdk.distribution is not None else python_version()
    except PackageNotFoundError:
        return {"version": None, "tested": None, "hooks": []}, None
    from tokenmeter.clients.support import hooks

    try:
        importlib.import_module(sdk.loads or root)
    except ImportError as error:
        return {
            "version": there,
            "tested": None,
            "hooks": [],
        }, f"{sdk.distribution or root} {there} cannot be imported: {error}"
    hooked = hooks.patched(root)
    tested = int(there.partition(".")[0]) in sdk.majors
    problem: str | None = None
    if not hooked and sdk.hooked:
        problem = (
            f"{sdk.distribution or root} {there}: no hook could be put in; its calls are metered on the wire at best"
        )
    elif not tested:
        majors = ", ".join(map(str, sdk.majors))
        problem = f"{sdk.distribution or root} {there} is untested: tested are major versions {majors}"
    return {"version": there, "tested": tested, "hooks": hooked or ["its HTTP requests"]}, problem
