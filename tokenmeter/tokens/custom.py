"""Registers custom vocabularies: a `tokenizer.json`, a folder of a transformers model, or a family's `.toml`.

    tokens.register("llama-3.3", "~/models/llama-3.3/tokenizer.json", models=["llama-3.3-70b"])

For families whose licence keeps their vocabulary out of this package, and for custom models. Counted by Hugging
Face's `tokenizers` (extra `[counting]`) or, where a folder has no tokenizer.json, by `transformers` (extra
`[transformers]`, `local_files_only`): nothing is downloaded and no code of the model runs.

A folder with a chat template has whole requests counted through it, exactly as a server that runs the model renders
them: `custom_template` does that, with the sandboxed Jinja of `transformers`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from tokenmeter._support.guard import logger
from tokenmeter.errors import ConfigurationError, MissingExtra
from tokenmeter.tokens import engine, families
from tokenmeter.tokens.custom_template import ChatTemplate, has_template, put_template
from tokenmeter.tokens.split_points import scalars

__all__ = ["HuggingFace", "register"]


class HuggingFace:
    """A tokenizer.json counted by Hugging Face's `tokenizers`, or a slow tokenizer of `transformers`."""

    # Such a tokenizer may put something in front of every text, so its texts are never split.
    adds_up: ClassVar[bool] = False

    __slots__ = ("_native", "_tokenizer", "family")

    def __init__(self, family: families.Family, tokenizer: Any, *, native: bool) -> None:
        self.family = family
        self._tokenizer = tokenizer
        self._native = native

    def count(self, text: str, markers: bool = False) -> int:
        """Tokens of a text; added tokens are read as the tokenizer's own file says."""
        return len(self.encode(text, markers))

    def encode(self, text: str, markers: bool = False) -> list[int]:
        """Token ids of a text."""
        encoded = self._tokenizer.encode(scalars(text), add_special_tokens=False)
        ids: list[int] = encoded.ids if self._native else encoded
        return ids


def register(family: str, path: str | os.PathLike[str], *, models: Iterable[str] = ()) -> None:
    """Count some models with a vocabulary of your own from now on, in this process.

    `path` is a tokenizer.json, a folder saved by transformers, or the .toml of a family with its .vocab beside it. It
    is read now, so a mistake shows here: raises ConfigurationError where it is not there or not readable, MissingExtra
    where a package is needed.
    """
    if isinstance(models, str):
        raise ConfigurationError(f"register: models={models!r} is one string; give a list of model names")
    place = Path(path).expanduser()
    if not place.exists():
        raise ConfigurationError(f"register: {place} is not there")
    if place.suffix == ".toml":
        custom = families.read_family(place, family)
        tokenizer: engine.Tokenizer = engine.build_tokenizer(custom)
    else:
        custom = families.Family(name=family, title=family, path=place)
        tokenizer = _hugging_face(custom, place)
    put_template(custom.name, _template(place))
    families.add_family(custom, tuple(models))
    engine.put_tokenizer(custom.name, tokenizer)
    from tokenmeter.tokens.counter import forget_counters

    forget_counters()


def _hugging_face(family: families.Family, place: Path) -> HuggingFace:
    file = place / "tokenizer.json" if place.is_dir() else place
    if not file.exists():
        return HuggingFace(family, _transformers(place), native=False)
    try:
        from tokenizers import Tokenizer  # type: ignore[import-not-found,attr-defined,unused-ignore]
    except ImportError:
        raise MissingExtra("reading a tokenizer.json needs Hugging Face's tokenizers", "counting") from None
    try:
        text = file.read_text(encoding="utf-8")
        return HuggingFace(family, Tokenizer.from_str(text), native=True)
    except Exception as error:  # noqa: BLE001 - the library raises plain Exception for every mistake in the file
        raise ConfigurationError(f"register: {file} is not a tokenizer.json that can be read: {error}") from None


def _template(place: Path) -> ChatTemplate | None:
    """The chat template of a folder that has one, where there is something to render it."""
    if not has_template(place):
        return None
    try:
        return ChatTemplate(_transformers(place))
    except MissingExtra:
        logger.warning(
            "%s has a chat template: whole requests are counted by it with pip install 'tokenmeter-sdk[transformers]', "
            "and with a range without", place,
        )  # fmt: skip
        return None


def _transformers(place: Path) -> Any:
    try:
        from transformers import AutoTokenizer  # type: ignore[import-not-found,attr-defined,unused-ignore]
    except ImportError:
        raise MissingExtra("reading a folder without a tokenizer.json needs transformers", "transformers") from None
    try:
        return AutoTokenizer.from_pretrained(place, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"register: {place} holds no tokenizer that can be read: {error}") from None
