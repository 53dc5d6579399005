"""Reads what a vendor's answer says beside its usage: model, id, tier, why it ended, and whether it is an error."""

from __future__ import annotations

from typing import Any, NamedTuple

from tokenmeter.wire.answer_places import direct, first_key, first_text
from tokenmeter.wire.formats import Api, load_apis
from tokenmeter.wire.json_paths import collector
from tokenmeter.wire.vendor_errors import error_code, refusal

__all__ = ["Facts", "FactsReader"]


class Facts(NamedTuple):
    """What an answer says beside its usage."""

    model: str | None
    id: str | None
    tier: str | None
    finish: tuple[str, ...]
    error: str | None


class FactsReader:
    """Reads the facts of answers of one dialect of a wire format, compiled from its paths."""

    def __init__(self, api: Api) -> None:
        self._model_key, self._model = first_key(api.model)
        self._id_key, self._id = first_key(api.response_id)
        self._tier_key, self._tier = first_key(api.tier)
        # An error object without a code is called by its place: Bedrock's `throttlingException`.
        self._error = tuple(zip((path.split(".")[-1] for path in api.error), direct(api.error), strict=True))
        self._error_key, more = first_key(api.error)
        self._more_errors = bool(more)
        self._success = load_apis().success | frozenset(word.lower() for word in api.success)
        self._finish = tuple(collector(path) for path in api.finish)
        self._answer_heads = _answer_heads(api)

    def read(self, root: dict[str, Any]) -> Facts:
        """The facts of an answer already out of its envelope."""
        # The first place of each is the usual one and tried without a call.
        get = root.get
        model, name, tier = get(self._model_key), get(self._id_key), get(self._tier_key)
        if type(model) is not str:
            model = first_text(self._model, root) if self._model else None
        if type(name) is not str:
            name = first_text(self._id, root) if self._id else None
        if type(tier) is not str:
            tier = first_text(self._tier, root) if self._tier else None
        error = self.error(root) if self._more_errors or get(self._error_key) is not None else None
        return Facts(model, name, tier, self._finished(root), error)

    def _finished(self, root: dict[str, Any]) -> tuple[str, ...]:
        for collect in self._finish:
            if reasons := collect(root):
                if len(reasons) == 1:
                    return (reasons[0],) if type(reasons[0]) is str else ()
                return tuple([reason for reason in reasons if type(reason) is str])
        return ()

    def error(self, root: dict[str, Any]) -> str | None:
        """The type or code of an error an answer carries; never its message, which may quote the prompt."""
        for name, get in self._error:
            error = root.get(get) if type(get) is str else get(root)  # type: ignore[operator]
            if error is not None and (code := error_code(error, self._success)) is not None:
                return code if code != "error" else name
        return None

    def refusal(self, body: dict[str, Any]) -> str | None:
        """The error code of a body or event that is no answer: by the conventions all formats share."""
        kind = body.get("type")
        if (
            kind is not None and kind != "error" and body.get("object") != "error"
        ) or not self._answer_heads.isdisjoint(
            name for name, value in body.items() if value is not None and value != [] and value != {}
        ):
            return None
        return refusal(body)


def _answer_heads(api: Api) -> frozenset[str]:
    """Top-level names that an answer or an event of this format has, and a refusal has not."""
    places = (*api.usage, *api.finish, *api.text_places)
    heads = {place.split(".")[0].split("[")[0] for place in places}
    return frozenset(heads - {"", "type", "status", "message", "error", "code"})
