"""Vocabularies of the user's own, with the real `tokenizers` and `transformers` where they are installed.

The folders are made here: a small byte-pair vocabulary is trained on a few sentences and saved by `transformers` with a
chat template, as models are published.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tokenmeter import ConfigurationError, Source, Tokenmeter, tokens
from tokenmeter.testing import capture
from tokenmeter.tokens import custom_template, families
from tokenmeter.tokens.counter import counter

tokenizers = pytest.importorskip("tokenizers", reason="Hugging Face's tokenizers (extra [counting]) is not installed")
transformers = pytest.importorskip("transformers", reason="transformers (extra [transformers]) is not installed")
pytest.importorskip("jinja2", reason="jinja2 (extra [transformers]) is not installed")

CORPUS = [
    "the price of a call is known",
    "每次调用的价格都清楚明白",
    "why does it cost more?",
    "请问今天杭州的天气",
] * 50
TEMPLATE = """\
{%- if tools %}<|im_start|>system
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}<|im_end|>
{% endif %}
{%- for message in messages %}
{%- if message.role not in ["system", "user", "assistant", "tool"] %}{{ raise_exception("no such role") }}{% endif -%}
<|im_start|>{{ message.role }}
{{ message.content or "" }}
{%- for call in message.tool_calls or [] %}
<call>{{ call.function.name }}
{%- for name, value in call.function.arguments.items() %} {{ name }}={{ value }}{% endfor %}</call>
{%- endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% if thinking is defined and not thinking %}<think></think>{% endif %}{% endif %}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder as transformers saves it."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=alphabet, special_tokens=["<|im_start|>", "<|im_end|>"], show_progress=False
    )
    made.train_from_iterator(CORPUS, trainer)
    place = tmp_path_factory.mktemp("models") / "mine"
    saved = transformers.PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|im_end|>")
    saved.chat_template = TEMPLATE
    saved.save_pretrained(place)
    return place


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is gone after it, and nothing may reach for the network."""

    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    before = dict(families._registered), dict(families._registered_models), dict(custom_template._templates)
    yield
    for registry, kept in zip(
        (families._registered, families._registered_models, custom_template._templates), before, strict=True
    ):
        registry.clear()
        registry.update(kept)  # type: ignore[arg-type]
    families.match_model.cache_clear()
    counter.cache_clear()


@pytest.fixture
def reference(folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)


TEXTS = ["", "the price", "每次调用的价格，why?", "\ud800 lone", "<|im_start|>user", " " * 3000, "🙂" * 50]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("place", ["folder", "file"])
def test_text_is_counted_as_the_library_counts_it(folder: Path, reference: Any, place: str, text: str) -> None:
    tokens.register("mine", folder if place == "folder" else folder / "tokenizer.json", models=["my-model"])
    clean = text.encode("utf-8", "replace").decode() if "\ud800" not in text else "\ufffd lone"
    found = tokens.count_text(text, model="my-model")
    assert found.tokens == len(reference.encode(clean, add_special_tokens=False))
    assert (found.method, found.family) == ("exact", "mine")


USER = {"role": "user", "content": "请问今天杭州的天气"}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "杭州", "days": 2}'}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CHATS = [
    pytest.param({"messages": [USER]}, {}, id="one message"),
    pytest.param({"messages": [{"role": "system", "content": "be brief"}, USER]}, {}, id="system"),
    pytest.param({"messages": [USER], "tools": [TOOL]}, {"tools": [TOOL]}, id="tools"),
    pytest.param({"messages": [USER], "tools": [TOOL], "tool_choice": "none"}, {}, id="tools not to be used"),
    pytest.param({"messages": [USER], "chat_template_kwargs": {"thinking": False}}, {"thinking": False}, id="a switch"),
]


def rendered(reference: Any, messages: list[dict[str, Any]], **more: Any) -> int:
    text = reference.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **more)
    return len(reference.encode(text, add_special_tokens=False))


@pytest.mark.parametrize(("body", "variables"), CHATS)
def test_a_request_is_counted_through_the_models_own_template(
    folder: Path, reference: Any, body: dict[str, Any], variables: dict[str, Any]
) -> None:
    tokens.register("mine", folder, models=["my-model"])
    expected = rendered(reference, body["messages"], **variables)
    found = tokens.count_request({"model": "my-model", **body})
    assert found == type(found)(expected, expected, expected, "exact", "mine")
    by_length = len(reference.encode(body["messages"][-1]["content"], add_special_tokens=False))
    assert expected > by_length  # the frame is in it


def test_calls_and_parts_are_rendered_as_servers_do(folder: Path, reference: Any) -> None:
    tokens.register("mine", folder, models=["my-model"])
    parts = [{"type": "text", "text": "the price"}, {"type": "text", "text": "of a call"}]
    called = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    answer = {"role": "tool", "tool_call_id": "c1", "content": "晴"}
    body = {"model": "my-model", "messages": [{"role": "user", "content": parts}, called, answer]}
    arguments = json.loads(CALL["function"]["arguments"])  # type: ignore[index]
    as_object = {**CALL, "function": {"name": "weather", "arguments": arguments}}
    plain = [
        {"role": "user", "content": "the price\nof a call"},
        {"role": "assistant", "content": None, "tool_calls": [as_object]},
        answer,
    ]
    assert tokens.count_request(body).tokens == rendered(reference, plain)
    assert body["messages"][1] is called  # the caller's own body is as it was
    assert CALL["function"]["arguments"].startswith("{")  # type: ignore[index]


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([{"role": "judge", "content": "hi"}], id="refused by the template"),
        pytest.param([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], id="an image"),
        pytest.param([{"role": "user", "content": 5}], id="no text"),
        pytest.param([5], id="no message"),
        pytest.param([], id="no messages"),
        pytest.param(
            [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "["}}]}], id="a call"
        ),
    ],
)
def test_what_the_template_does_not_take_is_counted_otherwise(folder: Path, messages: list[Any]) -> None:
    tokens.register("mine", folder, models=["my-model"])
    found = tokens.count_request({"model": "my-model", "messages": messages})
    assert found.method != "exact"


def test_a_refusal_is_said_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokens.register("mine", folder, models=["my-model"])
    with caplog.at_level(logging.WARNING, "tokenmeter"):
        for _ in range(3):
            tokens.count_request({"model": "my-model", "messages": [{"role": "judge", "content": "hi"}]})
    assert [one.getMessage() for one in caplog.records if "no such role" in one.getMessage()] == [
        "a chat template does not take a request, which is counted with a range: TemplateError: no such role"
    ]


def test_a_template_cannot_reach_out_of_its_sandbox(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "hostile"
    place.mkdir()
    for file in folder.iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    (place / "chat_template.jinja").write_text("{{ ''.__class__.__mro__[1].__subclasses__() }}")
    tokens.register("hostile", place, models=["bad-model"])
    found = tokens.count_request({"model": "bad-model", "messages": [USER]})
    assert found.method != "exact"


def test_a_file_alone_has_no_template(folder: Path) -> None:
    tokens.register("mine", folder / "tokenizer.json", models=["my-model"])
    found = tokens.count_request({"model": "my-model", "messages": [USER]})
    assert found.method != "exact"
    assert (found.low or 0) < (found.tokens or 0) < (found.high or 0)


def test_a_folder_without_a_tokenizer_json(tmp_path: Path) -> None:
    place = tmp_path / "old"
    place.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "price", "of", "a", "call"]
    (place / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    (place / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}', encoding="utf-8")
    tokens.register("old", place, models=["old-model"])
    assert tokens.count_text("the price of a call", model="old-model").tokens == 5


@pytest.mark.parametrize("content", [None, "{", '{"tokenizer_class": "NoSuchTokenizer"}'])
def test_a_folder_that_holds_no_tokenizer_is_said(tmp_path: Path, content: str | None) -> None:
    place = tmp_path / "empty"
    place.mkdir()
    if content is not None:
        (place / "tokenizer_config.json").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="empty"):
        tokens.register("empty", place, models=["empty-model"])


def test_a_call_whose_server_reports_nothing_is_counted_by_the_template(folder: Path, reference: Any) -> None:
    tokens.register("mine", folder, models=["my-model"])
    meter = Tokenmeter(spans="none")
    body = {"model": "my-model", "messages": [USER]}
    answer = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "晴"}}]}
    with capture(meter) as records, meter.call(provider="vllm", request=body, api="openai.chat") as call:
        call.observe(answer)
    usage = records.only().usage
    assert usage.input_tokens == rendered(reference, [USER])
    assert usage.source_of("input_tokens") is Source.COUNTED
    meter.shutdown()
