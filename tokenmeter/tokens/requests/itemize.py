"""Itemizes one request under one rule: tokens of each part, whose sum is the count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tokenmeter.tokens.requests import block_cache, render
from tokenmeter.tokens.requests.formulas import find_formula, media_tokens
from tokenmeter.tokens.requests.items import CounterLike, Items
from tokenmeter.tokens.requests.prompt import (
    CITED,
    TEXT_DOCUMENT,
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

__all__ = ["SAMPLE", "RequestItems"]

SAMPLE: Final = 400
"""Characters of a text looked at to know its script."""


class RequestItems(Items):
    """The items of a request.

    `media` is what of their sum is media, `guessed` whether some of that has no formula, `sample` some text where its
    script matters.
    """

    __slots__ = ("guessed", "media", "sample")

    def __init__(self, counts: CounterLike, rule: Rule) -> None:
        super().__init__(counts, rule)
        self.guessed = False
        self.media = 0
        self.sample = ""

    def request(self, prompt: Prompt, model: str) -> tuple[float, float]:
        """Itemize a request; returns low and high of its media, the range of the rest is the band's."""
        rule = self._rule
        counts = self._counts
        if prompt.inputs or prompt.token_ids:
            self.add("input", sum(map(counts.count, prompt.inputs)) + prompt.token_ids)
            self.add("frame", rule.message * len(prompt.inputs) if not prompt.messages and rule.id != "none" else 0)
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
        self.add("text", text)
        self._history(messages, prompt)
        self.add("frame", frames, f"{len(messages)} messages")
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
        if system or prompt.own_prompt:
            more, note = (rule.first_system, "system text") if system else (rule.no_system, "none given")
            self.add("system", more, note)
        if system is None:
            return
        if rule.system_newline and (prompt.tools or prompt.schema):
            last = system.texts[-1][-40:]
            count = self._counts.count
            self.add("system", count(last + "\n") - count(last), "newline after the system text")
        if prompt.tools:
            self.add("tools", rule.tools.with_system, "with a system text")

    def _history(self, messages: Sequence[Message], prompt: Prompt) -> None:
        """Names, earlier reasoning, calls and their results."""
        rule = self._rule
        count = self._counts.count
        last_user = next((at for at in range(len(messages) - 1, -1, -1) if messages[at].role == "user"), -1)
        together: set[str] = set()
        for at, message in enumerate(messages):
            if message.name:
                self.add("name", count(message.name) + rule.name)
            if message.reasoning and (rule.reasoning == "keep" or (rule.reasoning == "last" and at > last_user)):
                self.add("reasoning", sum(map(count, message.reasoning)), "earlier reasoning sent back")
            if message.signatures and rule.signature[0] and (at > last_user or not rule.signature_last):
                share, less = rule.signature
                inside = sum(max(0, round(share * length - less)) for length in message.signatures)
                self.add("reasoning", inside, "thoughts inside signatures")
            if message.calls:
                self.add("calls", self.count_calls(rule.calls, message.calls), f"{len(message.calls)} calls")
                if rule.calls.parallel and len(message.calls) > 1:
                    together.update(call.id for call in message.calls if call.id)
            for result in message.results:
                bare = result.id in together
                self.add("results", count(result.text) if bare else self._result(result, prompt), "tool result")

    def _result(self, result: Result, prompt: Prompt) -> int:
        pattern = self._rule.results
        body = result.text
        if result.value is not None:
            body = render.arguments(pattern.style, ToolCall("", result.value), pattern.options)
        name = result.name or called(prompt, result.id)
        return pattern.each + self.marked(pattern.text.replace("{name}", name).replace("{body}", body))

    def _tools(self, prompt: Prompt) -> None:
        """The tools that the model is shown, and what the choice among them adds."""
        pattern = self._rule.tools
        shown = _shown_tools(prompt, pattern)
        self._added_tools(prompt, pattern)
        if not shown:
            return
        options = pattern.options
        tokens = self.count_block("tools", pattern, shown)
        if options.grammar:
            tokens += options.grammar * sum(bool(tool.grammar) for tool in shown)
        if not shown[0].description:
            tokens += options.undescribed
        self.add("tools", tokens, f"{len(shown)} tools as {pattern.style}")
        if prompt.choice == "required":
            self.add("tools", pattern.required, "a call is required")
        elif prompt.choice.startswith("="):
            self.add("tools", self._forced_tool(prompt.choice[1:], pattern), "one tool by force")
            self.add("tools", options.forced_single if prompt.single_calls else 0, "and no call beside it")
        if prompt.single_calls:
            self.add("tools", options.single_calls, "parallel calls switched off")

    def _added_tools(self, prompt: Prompt, pattern: Pattern) -> None:
        """Tools offered later: each item is a message with a block of its own."""
        for added in prompt.added_tools:
            tokens = self.count_block("tools", pattern, added) - pattern.constant + self._rule.frame("developer")
            self.add("tools", tokens, f"{len(added)} tools offered later")
        if prompt.added_tools:
            self.add("tools", pattern.options.added, "tools offered later")

    def _forced_tool(self, name: str, pattern: Pattern) -> int:
        if pattern.options.forced_flat is not None:
            return pattern.options.forced_flat
        return pattern.forced + self._counts.count(name) if pattern.forced else 0

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
            tokens = round(self.marked(text) * pattern.scale) + pattern.constant
            if schema.description and pattern.options.described is not None:
                tokens += self._counts.count(schema.description) + pattern.options.described
            block_cache.remember(key, tokens)
        if prompt.tools and pattern.options.with_tools is not None:
            tokens += pattern.options.with_tools
        elif any(message.role in ("system", "developer") for message in prompt.messages):
            tokens += pattern.with_system
        self.add("schema", tokens, "the answer's schema")

    def _switches(self, prompt: Prompt) -> None:
        rule = self._rule
        self.add("hidden", rule.hidden if prompt.own_prompt else 0, "the endpoint's own prompt")
        if prompt.json_mode or (prompt.schema is not None and rule.schema.style == "none"):
            self.add("hidden", rule.json_mode, "the answer is to be JSON")
        # A conversation that ends with the assistant's own words is continued: no new think block is opened.
        if rule.thinking and not (prompt.messages and prompt.messages[-1].role == "assistant"):
            key = "default" if prompt.thinking is None else "on" if prompt.thinking else "off"
            if prompt.tools and f"{key}_with_tools" in rule.thinking:
                key = f"{key}_with_tools"
            self.add("thinking", rule.thinking.get(key, 0), f"thinking {key}")
            if prompt.effort:
                self.add("thinking", rule.thinking.get(prompt.effort, 0), f"reasoning: {prompt.effort}")
        mode = rule.modes.get(prompt.mode or "")
        if mode is not None:
            written = sum(item.tokens for item in self.items if item.part in ("text", "frame"))
            self.add("thinking", round((mode.scale - 1) * written) + mode.constant, f"reasoning mode: {prompt.mode}")
        if prompt.tools:
            for beta in prompt.betas:
                self.add("hidden", rule.betas.get(beta, 0), f"beta: {beta}")

    def _media(self, prompt: Prompt, model: str) -> tuple[float, float]:
        low = high = 0.0
        found = [medium for message in prompt.messages for medium in message.media]
        if any(medium.detail == CITED for medium in found):
            found.append(Media(CITED))  # the instructions to cite are there once, however many documents ask for them
        for medium in found:
            tokens, least, most = media_tokens(model, medium)
            formula = find_formula(medium.kind, model)
            if (formula is None or formula.guess) and medium.kind not in (TEXT_DOCUMENT, CITED):
                prompt.skipped.append(f"{medium.kind}: no formula of this vendor is known")
                self.guessed = True  # of those two kinds the text is counted: only a wrapper is not
            if tokens is None:
                continue
            size = f"{medium.width}x{medium.height}" if medium.width else "size unknown"
            if medium.kind != "image":
                size = str(medium.pages or medium.seconds or ("" if medium.kind in (TEXT_DOCUMENT, CITED) else "?"))
            self.add(medium.kind, tokens, size)
            self.media += tokens
            low += least
            high += most
        return low, high


def _shown_tools(prompt: Prompt, pattern: Pattern) -> Sequence[Tool]:
    """The offered tools that the endpoint writes into the prompt."""
    if prompt.choice == "none" and pattern.options.none_hides:
        return ()
    if prompt.choice.startswith("=") and pattern.options.forced_only:
        return [tool for tool in prompt.tools if tool.name == prompt.choice[1:]] or prompt.tools
    return prompt.tools
