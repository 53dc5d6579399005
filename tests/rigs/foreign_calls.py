"""Calls as other tools write them to files: each with a prompt, which no ledger may hold."""

from __future__ import annotations

import copy
import json
from typing import Any

PROMPT = "please keep this sentence to yourself"

LANGFUSE: dict[str, Any] = {
    "id": "obs-1", "traceId": "trace-1", "type": "GENERATION", "name": "answer", "environment": "production",
    "startTime": "2026-11-20T10:00:00.000Z", "endTime": "2026-11-20T10:00:02.500Z",
    "completionStartTime": "2026-11-20T10:00:00.400Z", "model": "gpt-4o-mini", "level": "DEFAULT",
    "input": [{"role": "user", "content": PROMPT}], "output": {"content": PROMPT}, "statusMessage": PROMPT,
    "metadata": {"ls_provider": "openai", "note": PROMPT},
    "usageDetails": {
        "input": 200, "input_cached_tokens": 800, "output": 90, "output_reasoning_tokens": 10, "total": 1100,
    },
    "costDetails": {"input": 0.00009, "output": 0.00006, "total": 0.00015}, "userId": "u1",
}  # fmt: skip

LITELLM: dict[str, Any] = {
    "request_id": "chatcmpl-litellm-0123456789", "call_type": "acompletion", "api_key": "88dc28d0f0", "spend": 0.00019,
    "total_tokens": 1100, "prompt_tokens": 1000, "completion_tokens": 100, "startTime": "2026-11-20T10:00:00.100000",
    "endTime": "2026-11-20T10:00:02.100000", "completionStartTime": "2026-11-20T10:00:00.600000",
    "model": "gpt-4o-mini", "custom_llm_provider": "openai", "api_base": "https://api.openai.com/v1", "user": "",
    "end_user": "u1", "cache_hit": "False", "request_tags": '["batch-7"]', "team_id": "t1", "status": "success",
    "messages": [{"role": "user", "content": PROMPT}], "response": {"content": PROMPT},
    "metadata": json.dumps({
        "user_api_key_alias": "search", "requester": PROMPT,
        "additional_usage_values": {"prompt_tokens_details": {"cached_tokens": 800, "audio_tokens": None}},
    }),
}  # fmt: skip

BATCH: dict[str, Any] = {
    "id": "batch_req_1", "custom_id": "row-1", "error": None,
    "response": {"status_code": 200, "request_id": "req_1", "body": {
        "id": "chatcmpl-batch-0123456789", "object": "chat.completion", "created": 1795168800, "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": PROMPT}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    }},
}  # fmt: skip

ANTHROPIC_BATCH: dict[str, Any] = {
    "custom_id": "row-1", "result": {"type": "succeeded", "message": {
        "id": "msg_0123456789abcdefghij", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929",
        "content": [{"type": "text", "text": PROMPT}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 200, "cache_read_input_tokens": 800, "output_tokens": 100},
    }},
}  # fmt: skip

PHOENIX: dict[str, Any] = {
    "id": "U3Bhbjox", "name": "ChatCompletion", "context": {"trace_id": "0a" * 16, "span_id": "0b" * 8},
    "span_kind": "LLM", "parent_id": None, "start_time": "2026-11-20T10:00:00.000000+00:00",
    "end_time": "2026-11-20T10:00:02.000000+00:00", "status_code": "OK", "status_message": PROMPT, "events": [],
    "attributes": {
        "llm.model_name": "gpt-4o-mini", "llm.provider": "openai", "llm.token_count.prompt": 1000,
        "llm.token_count.completion": 100, "llm.token_count.prompt_details.cache_read": 800, "input.value": PROMPT,
        "llm.input_messages": [{"message.content": PROMPT}], "session.id": "s1",
    },
}  # fmt: skip


def otlp(*spans: dict[str, Any], scope: str = "opentelemetry.instrumentation.openai_v2") -> dict[str, Any]:
    """An export request as OTLP JSON."""
    return {"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
        "scopeSpans": [{"scope": {"name": scope}, "spans": list(spans)}],
    }]}  # fmt: skip


def otlp_span(span_id: str = "0b" * 8, parent: str = "", **attributes: Any) -> dict[str, Any]:
    """A span of one call; attributes with `__` for points."""
    stated = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100,
        "gen_ai.usage.cache_read.input_tokens": 800, "gen_ai.input.messages": PROMPT, "user.id": "u1",
    } | {name.replace("__", "."): value for name, value in attributes.items()}  # fmt: skip
    return {
        "traceId": "0a" * 16, "spanId": span_id, "parentSpanId": parent, "name": "chat", "kind": 3,
        "startTimeUnixNano": "1795168800000000001", "endTimeUnixNano": "1795168802000000001", "status": {},
        "attributes": [{"key": name, "value": _any(value)} for name, value in stated.items()],
    }  # fmt: skip


def _any(value: Any) -> dict[str, Any]:
    if isinstance(value, int):
        return {"intValue": str(value)}  # 64-bit integers are texts in OTLP JSON
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}


def changed(call: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The same with other values at its top; None takes one out."""
    made = copy.deepcopy(call) | changes
    return {name: value for name, value in made.items() if value is not None or name not in changes}
