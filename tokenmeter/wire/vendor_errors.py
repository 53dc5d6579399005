"""Finds the code of an error in an answer, whatever its HTTP status.

Only the code is read: the message may quote the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tokenmeter.wire.formats import load_apis

__all__ = ["error_code", "refusal"]

_LONGEST: Final = 100


def error_code(error: object, success: frozenset[str]) -> str | None:
    """The code of what stands at the place of an error; None where it means success or says nothing.

    Of an error object the code is taken, or the type or status where the code only repeats the HTTP or gRPC status.
    """
    if type(error) is dict:
        code = error.get("code")
        if _succeeded(code, success) and not error.get("type"):
            return None
        if _is_status(code) or type(error.get("status")) is str:
            code = None
        named = code or error.get("type") or error.get("status") or error.get("code") or error.get("Code")
        return str(named)[:_LONGEST] if type(named) in (str, int) else "error" if error else None
    if error is None or error is False or error == "" or _succeeded(error, success):
        return None
    if type(error) is int:
        return str(error)
    if type(error) is str:
        return "error" if " " in error.strip() or len(error) > _LONGEST else error
    return "error" if error is True or (type(error) is list and error) else None


def refusal(body: Mapping[str, Any]) -> str | None:
    """The error code of a body that is no answer of any format: by the conventions of `formats/_errors.toml`."""
    apis = load_apis()
    if apis.refusal_heads.isdisjoint(body):
        return None
    for known in apis.refusals:
        code = error_code(known.error(body), apis.success) if all(test(body) for test in known.tests) else None
        if code is not None:
            return code
    return None


def _succeeded(code: object, success: frozenset[str]) -> bool:
    return type(code) in (int, str) and str(code).strip().lower() in success


def _is_status(code: object) -> bool:
    text = str(code)
    return text.isdigit() and 100 <= int(text[:9]) < 600
