"""Families of tokenizers: which models belong to one, that each is whole, and those of the user."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from tokenmeter import tokens
from tokenmeter.errors import CatalogError, ConfigurationError
from tokenmeter.tokens.engine import load_tokenizer
from tokenmeter.tokens.families import data_folder, family_names, load_family, match_model

ROOT = Path(__file__).parents[2]
SHIPPED = family_names()
"""Families before any test adds one of its own."""


@pytest.mark.parametrize(
    ("model", "provider", "family", "method"),
    [
        pytest.param("qwen-plus", "alibaba", "qwen", "exact", id="alias"),
        pytest.param("Qwen/Qwen3-235B-A22B-Instruct-2507", "siliconflow", "qwen", "exact", id="organisation and case"),
        pytest.param("Qwen/Qwen3.5-9B", None, "qwen3.5", "exact", id="the organisation's name is not the model's"),
        pytest.param("deepseek/deepseek-r1-distill-llama-70b", None, "llama-3", "stand-in", id="a distill, resold"),
        pytest.param("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", None, "qwen", "exact", id="a distill of the vendor"),
        pytest.param("deepseek-ai/DeepSeek-V2.5", None, "deepseek-v2", "stand-in", id="an earlier vocabulary, resold"),
        pytest.param("deepseek/deepseek-r1/community", "ppio", "deepseek-v3", "exact", id="a variant after the model"),
        pytest.param("mistralai/mixtral-8x7b-instruct", "openrouter", "llama-2", "stand-in", id="Mixtral"),
        pytest.param("mistralai/mistral-large-2411", "openrouter", "llama-2", "stand-in", id="an older Mistral"),
        pytest.param("meta-llama/Llama-2-70b-chat-hf", None, "llama-2", "stand-in", id="Llama 2"),
        pytest.param("qwen/some-new-thing", None, "qwen", "stand-in", id="only the organisation is known"),
        pytest.param("gemini-1.5-pro", "google", "gemma", "stand-in", id="a vocabulary close to the family's"),
        pytest.param("gpt-3.5-turbo-instruct", "openai", "cl100k", "exact", id="GPT-3.5"),
        pytest.param("text-davinci-003", "openai", "cl100k", "stand-in", id="GPT-3"),
        pytest.param("qwen3.6-plus", "alibaba", "qwen3.5", "exact", id="the longer prefix wins"),
        pytest.param("deepseek-ai/DeepSeek-V3.2", None, "deepseek-v3", "exact", id="resold"),
        pytest.param("deepseek-r1-distill-qwen-32b", None, "qwen", "exact", id="distilled into Qwen"),
        pytest.param("deepseek-r1-distill-llama-70b", None, "llama-3", "stand-in", id="distilled into Llama"),
        pytest.param("glm-4.6", "zhipu", "glm-4", "exact", id="glm 4.6"),
        pytest.param("glm-4.7-flash", "zai", "glm-4.7", "exact", id="glm 4.7"),
        pytest.param("gpt-4-turbo", "openai", "cl100k", "exact", id="gpt-4"),
        pytest.param("gpt-4.1-mini", "openai", "o200k", "exact", id="gpt-4.1"),
        pytest.param("gpt-oss-120b", None, "o200k-harmony", "exact", id="open weights of OpenAI"),
        pytest.param("gemini-2.5-pro", "google", "gemma", "exact", id="Gemini"),
        pytest.param("us.anthropic.claude-sonnet-4-6", "aws-bedrock", "claude", "stand-in", id="Bedrock's prefix"),
        pytest.param("claude-opus-4-8", "anthropic", "claude-4.7", "stand-in", id="the new tokenizer of Claude"),
        pytest.param("doubao-seed-1.6", "volcengine", "doubao", "stand-in", id="Doubao"),
        pytest.param("no-such-model", "alibaba", "qwen3.5", "stand-in", id="unknown, of a known vendor"),
        pytest.param("no-such-model", None, "unknown", "stand-in", id="unknown"),
    ],
)
def test_models_belong_to_families(model: str, provider: str | None, family: str, method: str) -> None:
    count = tokens.count_text("今天天气真的不错, isn't it?", model=model, provider=provider)
    assert (count.family, count.method) == (family, method)
    assert None not in (count.tokens, count.low, count.high)
    assert count.low <= count.tokens <= count.high  # type: ignore[operator]
    assert (count.low == count.high) == (method == "exact")


@pytest.mark.parametrize(
    ("model", "at", "family"),
    [
        pytest.param("mistral-large-latest", "2024-11-17", "llama-2", id="Mistral Large 2"),
        pytest.param("mistral-large-latest", "2025-12-31", "tekken", id="Mistral Large 3"),
        pytest.param("mistral-small-latest", "2024-08-27", "llama-2", id="Mistral Small 2402"),
        pytest.param("mistral-small-latest", None, "tekken", id="the present Mistral Small"),
    ],
)
def test_a_latest_name_changes_its_model(model: str, at: str | None, family: str) -> None:
    assert match_model(model, "mistral", at).family == family


def test_an_unknown_model_is_refused_when_strict() -> None:
    with pytest.raises(ConfigurationError, match=r"tokens\.register"):
        tokens.count_text("hi", model="no-such-model", strict=True)


def _names_table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("model_families", ROOT / "tools" / "model_families.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_known_name_has_the_family_of_the_reviewed_table() -> None:
    names = _names_table()
    table = names.read_table()
    wanted = names.rows(key for key, row in table.items() if row[2] == names.RECORDED)
    assert len(wanted) > 2500
    changed = {key: (table.get(key), row) for key, row in wanted.items() if table.get(key) != row}
    assert not changed, "look each of these up, then run `python tools/model_families.py`"
    assert not table.keys() - wanted.keys()


def test_every_priced_model_is_named_in_a_family() -> None:
    priced = sorted(set(_names_table().priced_models()))
    assert len(priced) > 500
    named = ("model", "similar")
    lost = [(provider, model) for provider, model in priced if match_model(model, provider).by not in named]
    assert not lost, "name these in tokenizers/models.toml"


def test_families_are_whole() -> None:
    for name in SHIPPED:
        family = load_family(name)
        assert family.title
        if family.stand_in is not None:
            assert load_family(family.stand_in).vocabulary, name
            assert set(family.scale) == {"zh", "en", "mixed", "other"}, name
            for best, low, high in family.scale.values():
                assert low <= best <= high, name
        if family.vocabulary is not None:
            assert all((family.licence, family.source["sha256"], family.source["fingerprint"])), name


def test_models_name_families_that_exist_and_no_name_twice() -> None:
    with (data_folder() / "models.toml").open("rb") as file:
        data = tomllib.load(file)
    known = set(family_names())
    named: dict[str, str] = {}
    for entry in data["models"]:
        assert entry["family"] in known
        for name in entry["names"]:
            assert name == name.lower()
            assert named.setdefault(name, entry["family"]) == entry["family"], name
    assert {*data["providers"].values(), data["default"]} <= known


def test_a_family_of_ones_own(tmp_path: Path) -> None:
    source = load_family("tekken")
    vocabulary = source.vocabulary_path
    assert vocabulary is not None
    (tmp_path / "tekken.vocab").write_bytes(vocabulary.read_bytes())
    (tmp_path / "mine.toml").write_text((data_folder() / "tekken.toml").read_text())
    tokens.register("mine", tmp_path / "mine.toml", models=["my-model"])
    count = tokens.count_text("你好，世界", model="my-model")
    assert (count.family, count.method, count.tokens) == ("mine", "exact", load_tokenizer("tekken").count("你好，世界"))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        pytest.param("gone.json", None, "is not there", id="missing"),
        pytest.param("bad.toml", "pattern = [", "bad.toml", id="not TOML"),
        pytest.param("odd.toml", 'title = "x"\npatern = []', "'patern' is not a key", id="misspelt key"),
        pytest.param("empty.toml", 'title = "x"', "has no vocabulary", id="no vocabulary"),
    ],
)
def test_a_wrong_family_is_refused_at_once(tmp_path: Path, name: str, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises((ConfigurationError, CatalogError), match=words):
        tokens.register("wrong", tmp_path / name, models=["wrong-model"])
    assert match_model("wrong-model").family == "unknown"
