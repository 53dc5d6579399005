"""Itemizes one prompt, or one answer, under one rule: tokens of each part, whose sum is the count.

Tool and schema blocks repeat from call to call, so their counts are kept by a digest of the block, never its text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Protocol

from tokenmeter.tokens.requests import block_cache, render
from tokenmeter.tokens.requests.formulas import media_tokens
from tokenmeter.tokens.requests.prompt import (
    CITED,
    TEXT_DOCUMENT,
    Item,
    Media,
    Message,
    Prompt,
    Result,
    Tool,
    ToolCall,
    called,
    merged,
)
from tokenmeter.tokens.requests.rules import Pattern, Rule
from tokenmeter.tokens.requests.typescript import uncommented

__all__ = ["SAMPLE", "CounterLike", "Item", "Itemizer"]

SAMPLE: Final = 400
"""Characters of a text looked at to know its script."""


class CounterLike(Protocol):
    """The part of `tokens.counter.Counter` that itemizing needs."""

    @property
    def family_name(self) -> str: ...

    @property
    def method(self) -> str: ...

    def count(self, text: str, *, markers: bool = False) -> int: ...

    def band(self, tokens: int, text: str = "") -> tuple[int, int]: ...


class Itemizer:
    """CounterLike the parts of one prompt under one rule."""

    __slots__ = ("_counts", "_rule", "items", "media", "sample")

    def __init__(self, counts: CounterLike, rule: Rule) -> None:
        self._counts = counts
        self._rule = rule
        self.items: list[Item] = []
        self.media = 0
        self.sample = ""

    def _add(self, part: str, tokens: int, note: str = "") -> None:
        if tokens:
            self.items.append(Item(part, tokens, note))

    def _marked(self, text: str) -> int:
        """Tokens of rendered text: `\\0` is one mark, `\\1` none, and neither merges with anything."""
        if "\0" not in text and "\1" not in text:
            return self._counts.count(text, markers=True) if text else 0
        pieces = text.replace("\0", "\1").split("\1")
        return text.count("\0") + sum(self._counts.count(piece, markers=True) for piece in pieces if piece)

    def request(self, prompt: Prompt, model: str) -> tuple[float, float]:
        """Itemize a request; returns low and high of its media, the range of the rest is the band's."""
        rule = self._rule
        counts = self._counts
        if prompt.inputs or prompt.token_ids:
            self._add("input", sum(map(counts.count, prompt.inputs)) + prompt.token_ids)
            self._add("frame", rule.message * len(prompt.inputs) if not prompt.messages and rule.id != "none" else 0)
        low = high = 0.0
        if prompt.messages:
            self._messages(prompt)
            low, high = self._media(prompt, model)
        self._tools(prompt)
        self._schema(prompt)
        self._switches(prompt)
        return low, high

    def _messages(self, prompt: Prompt) -> None:
        rule = self._rule
        count = self._counts.count
        messages = merged(prompt.messages) if rule.merge else prompt.messages
        frames = rule.start
        text = 0
        system: Message | None = None
        before: Message | None = None
        run = 0
        frame = rule.frame
        for message in messages:
            frames += frame(message.role)
            texts = message.texts
            if rule.strip_think and texts and message.role == "assistant":
                texts = [one.rpartition("</think>")[2].lstrip("\n") for one in texts]
            if texts:
                text += count(texts[0]) if len(texts) == 1 else self._joined(texts)
                if rule.edge and texts[0][:1].isspace():
                    frames += self._border(rule.edge, texts[0])
                if system is None and message.role in ("system", "developer"):
                    system = message
            if message.calls or message.results:
                frames += self._shared_frame(message, before)
            run = run + 1 if message.calls and not message.texts else 0
            if run == 2:
                frames += rule.calls.options.run
            before = message
        if self._counts.method != "exact":
            self.sample = " ".join(one[:SAMPLE] for message in messages[-4:] for one in message.texts[:2])
        self._add("text", text)
        self._history(messages, prompt)
        self._add("frame", frames, f"{len(messages)} messages")
        self._system(system, prompt)

    def _joined(self, texts: Sequence[str]) -> int:
        count = self._counts.count
        return sum(map(count, texts)) if self._rule.join is None else count(self._rule.join.join(texts))

    def _border(self, edge: str, text: str) -> int:
        """What whitespace at a text's start saves by merging with the end of the frame."""
        head = text[:40]
        count = self._counts.count
        return count(edge + head) - count(edge) - count(head)

    def _shared_frame(self, message: Message, before: Message | None) -> int:
        """Less where neighbouring call items share a frame, more where a run of results opens one."""
        rule = self._rule
        if rule.chained and message.calls and before is not None and before.results:
            return -rule.frame(message.role) - rule.merge_results
        if rule.merge_calls and message.calls and before is not None and before.calls and not message.texts:
            return -rule.frame(message.role)
        if rule.merge_results and message.results and not (before is not None and before.results):
            return rule.merge_results
        return 0

    def _system(self, system: Message | None, prompt: Prompt) -> None:
        rule = self._rule
        self._add("system", rule.first_system if system else rule.no_system, "system text" if system else "none given")
        if system is None:
            return
        if rule.system_newline and (prompt.tools or prompt.schema):
            last = system.texts[-1][-40:]
            count = self._counts.count
            self._add("system", count(last + "\n") - count(last), "newline after the system text")
        if prompt.tools:
            self._add("tools", rule.tools.with_system, "with a system text")

    def _history(self, messages: Sequence[Message], prompt: Prompt) -> None:
        """Names, earlier reasoning, calls and their results."""
        rule = self._rule
        count = self._counts.count
        last_user = max((at for at, one in enumerate(messages) if one.role == "user"), default=-1)
        together: set[str] = set()
        for at, message in enumerate(messages):
            if message.name:
                self._add("name", count(message.name) + rule.name)
            if message.reasoning and (rule.reasoning == "keep" or (rule.reasoning == "last" and at > last_user)):
                self._add("reasoning", sum(map(count, message.reasoning)), "earlier reasoning sent back")
            if message.signatures and rule.signature[0] and (at > last_user or not rule.signature_last):
                share, less = rule.signature
                inside = sum(max(0, round(share * length - less)) for length in message.signatures)
                self._add("reasoning", inside, "thoughts inside signatures")
            if message.calls:
                self._add("calls", self._calls(rule.calls, message.calls), f"{len(message.calls)} calls")
                if rule.calls.parallel and len(message.calls) > 1:
                    together.update(call.id for call in message.calls if call.id)
            for result in message.results:
                bare = result.id in together
                self._add("results", count(result.text) if bare else self._result(result, prompt), "tool result")

    def _calls(self, pattern: Pattern, calls: Sequence[ToolCall]) -> int:
        texts = [
            pattern.text.replace("{name}", call.name).replace(
                "{body}", render.arguments(pattern.style, call, pattern.options)
            )
            for call in calls
        ]
        tokens = pattern.constant + pattern.each * len(calls)
        if pattern.options.stored:
            tokens += pattern.options.stored * sum(call.stored for call in calls)
        if pattern.parallel and (len(calls) > 1 or (pattern.options.spaced_alone and _spaced(calls[0].arguments))):
            tokens = pattern.parallel + pattern.parallel_each * len(calls)
            tokens += pattern.options.parallel_empty * sum(call.arguments in _EMPTY for call in calls)
        if pattern.join:
            return tokens + self._marked(pattern.intro + pattern.join.join(texts) + pattern.outro)
        return tokens + self._marked(pattern.intro) + sum(map(self._marked, texts)) + self._marked(pattern.outro)

    def _result(self, result: Result, prompt: Prompt) -> int:
        pattern = self._rule.results
        body = result.text
        if result.value is not None:
            body = render.arguments(pattern.style, ToolCall("", result.value), pattern.options)
        name = result.name or called(prompt, result.id)
        return pattern.each + self._marked(pattern.text.replace("{name}", name).replace("{body}", body))

    def _tools(self, prompt: Prompt) -> None:
        """The tools that the model is shown, and what the choice among them adds."""
        pattern = self._rule.tools
        shown = _shown_tools(prompt, pattern)
        self._added_tools(prompt, pattern)
        if not shown:
            return
        options = pattern.options
        tokens = self._block("tools", pattern, shown)
        if options.uncommented:
            tokens += options.uncommented * sum(map(uncommented, shown))
        if not shown[0].description:
            tokens += options.undescribed
        self._add("tools", tokens, f"{len(shown)} tools as {pattern.style}")
        if prompt.choice == "required":
            self._add("tools", pattern.required, "a call is required")
        elif prompt.choice.startswith("="):
            self._add("tools", self._forced_tool(prompt.choice[1:], pattern), "one tool by force")
            self._add("tools", options.forced_single if prompt.single_calls else 0, "and no call beside it")
        if prompt.single_calls:
            self._add("tools", options.single_calls, "parallel calls switched off")

    def _added_tools(self, prompt: Prompt, pattern: Pattern) -> None:
        """Tools offered later: each item is a message with a block of its own."""
        for added in prompt.added_tools:
            tokens = self._block("tools", pattern, added) - pattern.constant + self._rule.frame("developer")
            self._add("tools", tokens, f"{len(added)} tools offered later")
        if prompt.added_tools:
            self._add("tools", pattern.options.added, "tools offered later")

    def _forced_tool(self, name: str, pattern: Pattern) -> int:
        if pattern.options.forced_flat is not None:
            return pattern.options.forced_flat
        return pattern.forced + self._counts.count(name) if pattern.forced else 0

    def _block(self, part: str, pattern: Pattern, offered: Sequence[Tool]) -> int:
        key = block_cache.digest(self._rule.id, self._counts.family_name, part, [tool.raw for tool in offered])
        known = block_cache.recall(key)
        if known is not None:
            return known
        texts = render.tools(pattern.style, offered, pattern.options)
        if pattern.text != "{body}":
            texts = [pattern.text.replace("{body}", text) for text in texts]
        if pattern.join:
            tokens = self._marked(pattern.intro + pattern.join.join(texts) + pattern.outro)
        else:
            tokens = self._marked(pattern.intro) + sum(map(self._marked, texts)) + self._marked(pattern.outro)
        tokens = round(tokens * pattern.scale) + pattern.constant + pattern.each * len(offered)
        block_cache.remember(key, tokens)
        return tokens

    def _schema(self, prompt: Prompt) -> None:
        schema = prompt.schema
        pattern = self._rule.schema
        if schema is None or pattern.style == "none":
            return
        key = block_cache.digest(
            self._rule.id, self._counts.family_name, "schema", [schema.name, schema.description, schema.value]
        )
        tokens = block_cache.recall(key)
        if tokens is None:
            body = render.as_json(render.trimmed(schema.value, pattern.options), pattern.options)
            text = pattern.text.replace("{name}", schema.name).replace("{body}", body)
            tokens = round(self._marked(text) * pattern.scale) + pattern.constant
            if schema.description and pattern.options.described is not None:
                tokens += self._counts.count(schema.description) + pattern.options.described
            block_cache.remember(key, tokens)
        if prompt.tools and pattern.options.with_tools is not None:
            tokens += pattern.options.with_tools
        elif any(message.role in ("system", "developer") for message in prompt.messages):
            tokens += pattern.with_system
        self._add("schema", tokens, "the answer's schema")

    def _switches(self, prompt: Prompt) -> None:
        rule = self._rule
        self._add("hidden", rule.hidden, "the endpoint's own prompt")
        if prompt.json_mode or (prompt.schema is not None and rule.schema.style == "none"):
            self._add("hidden", rule.json_mode, "the answer is to be JSON")
        # A conversation that ends with the assistant's own words is continued: no new think block is opened.
        if rule.thinking and not (prompt.messages and prompt.messages[-1].role == "assistant"):
            key = "default" if prompt.thinking is None else "on" if prompt.thinking else "off"
            if prompt.tools and f"{key}_with_tools" in rule.thinking:
                key = f"{key}_with_tools"
            self._add("thinking", rule.thinking.get(key, 0), f"thinking {key}")
            for word in (prompt.effort, prompt.mode):
                if word:
                    self._add("thinking", rule.thinking.get(word, 0), f"reasoning: {word}")

    def _media(self, prompt: Prompt, model: str) -> tuple[float, float]:
        low = high = 0.0
        found = [medium for message in prompt.messages for medium in message.media]
        if any(medium.detail == CITED for medium in found):
            found.append(Media(CITED))  # the instructions to cite are there once, however many documents ask for them
        for medium in found:
            tokens, least, most = media_tokens(model, medium)
            if tokens is None:
                if medium.kind not in (TEXT_DOCUMENT, CITED):  # of these the text is counted: only a wrapper is not
                    prompt.skipped.append(f"{medium.kind}: no formula of this vendor is known")
                continue
            size = f"{medium.width}x{medium.height}" if medium.width else "size unknown"
            if medium.kind != "image":
                size = str(medium.pages or medium.seconds or ("" if medium.kind in (TEXT_DOCUMENT, CITED) else "?"))
            self._add(medium.kind, tokens, size)
            self.media += tokens
            low += least
            high += most
        return low, high

    def output(self, text: str, reasoning: str, calls: Sequence[ToolCall], asked: Prompt) -> None:
        """Itemize an answer to a request."""
        rule = self._rule
        extra = rule.output.options
        self._add("text", self._counts.count(text) if text else 0)
        if reasoning:
            self._add("reasoning", self._counts.count(reasoning) + extra.reasoning)
        pattern = rule.output_calls or rule.calls
        if calls and asked.choice.startswith("=") and pattern.options.forced is not None and len(calls) == 1:
            body = render.arguments(pattern.style, calls[0], pattern.options)
            self._add("calls", self._marked(body) + pattern.options.forced, "the call asked for by name")
            self._add("calls", pattern.options.forced_single if asked.single_calls else 0, "no call beside it")
        elif calls:
            if asked.choice not in ("auto", "none"):
                self._add("calls", pattern.required, "the opening of a required call is not billed")
            if asked.choice == "required" and len(asked.tools) == len(calls) == 1:
                self._add("calls", pattern.options.required_one, "the name of the only tool is not billed")
            self._add("calls", self._calls(pattern, calls), f"{len(calls)} calls")
            self._add("end", extra.mixed if text else 0, "text before calls")
        else:
            self._add("end", rule.output.each, "end marks")
            self._add("end", extra.tools if asked.tools and asked.choice != "none" else 0, "tools were offered")
            self._add("end", extra.schema if asked.schema else 0, "a schema was asked for")
            if asked.schema and asked.tools:
                self._add("end", extra.schema_tools, "a schema and tools")


_EMPTY: Final[tuple[Any, ...]] = ("", "{}", {})
_SPACED: Final = re.compile(r'^\{"[^"]*": ')


def _spaced(arguments: object) -> bool:
    """Whether arguments are one line of JSON with a space behind the colon."""
    return isinstance(arguments, str) and _SPACED.match(arguments) is not None


def _shown_tools(prompt: Prompt, pattern: Pattern) -> Sequence[Tool]:
    """The offered tools that the endpoint writes into the prompt."""
    if prompt.choice == "none" and pattern.options.none_hides:
        return ()
    if prompt.choice.startswith("=") and pattern.options.forced_only:
        return [tool for tool in prompt.tools if tool.name == prompt.choice[1:]] or prompt.tools
    return prompt.tools
