"""Itemizes one answer under one rule: text, visible reasoning, calls, end marks."""

from __future__ import annotations

from collections.abc import Sequence

from tokenmeter.tokens.requests import render
from tokenmeter.tokens.requests.items import Items
from tokenmeter.tokens.requests.prompt import Prompt, ToolCall

__all__ = ["AnswerItems"]


class AnswerItems(Items):
    """The items of an answer."""

    __slots__ = ()

    def answer(self, text: str, reasoning: str, calls: Sequence[ToolCall], asked: Prompt) -> None:
        """Itemize an answer to a request."""
        rule = self._rule
        extra = rule.output.options
        self.add("text", self._counts.count(text) if text else 0)
        if reasoning:
            self.add("reasoning", self._counts.count(reasoning) + extra.reasoning)
        pattern = rule.output_calls or rule.calls
        if calls and asked.choice.startswith("=") and pattern.options.forced is not None and len(calls) == 1:
            body = render.arguments(pattern.style, calls[0], pattern.options)
            self.add("calls", self.marked(body) + pattern.options.forced, "the call asked for by name")
            self.add("calls", pattern.options.forced_single if asked.single_calls else 0, "no call beside it")
        elif calls:
            if asked.choice not in ("auto", "none"):
                self.add("calls", pattern.required, "the opening of a required call is not billed")
            if asked.choice == "required" and len(asked.tools) == len(calls) == 1:
                self.add("calls", pattern.options.required_one, "the name of the only tool is not billed")
            self.add("calls", self.count_calls(pattern, calls), f"{len(calls)} calls")
            self.add("end", extra.mixed if text else 0, "text before calls")
        else:
            self.add("end", rule.output.each, "end marks")
            self.add("end", extra.tools if asked.tools and asked.choice != "none" else 0, "tools were offered")
            self.add("end", extra.schema if asked.schema else 0, "a schema was asked for")
            if asked.schema and asked.tools:
                self.add("end", extra.schema_tools, "a schema and tools")
        mode = rule.modes.get(asked.mode or "")
        if mode is not None:
            written = sum(item.tokens for item in self.items if item.part == "text")
            more = round((mode.output_scale - 1) * written) + mode.output_constant
            self.add("thinking", more, f"reasoning mode: {asked.mode}")
