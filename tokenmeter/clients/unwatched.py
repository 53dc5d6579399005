"""What vendors bill and no hook watches: endpoints and SDK methods, why, and what to do instead.

`doctor` prints this table, and docs/watched.md shows it beside what is watched. An entry goes when a wire format or a
form of `wire/later.toml` describes it; `tests/clients/test_unwatched.py` fails for one whose path is watched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["UNWATCHED", "Unwatched"]

_BY_HAND: Final = "tokenmeter.call(provider=..., model=...), with observe or observe_usage"
_BILL: Final = "the vendor's bill: no answer to a request states it"


@dataclass(frozen=True, slots=True)
class Unwatched:
    """One thing that is billed and not watched. `paths` are ends of request paths; none where there is no request."""

    vendor: str
    what: str
    why: str
    instead: str
    paths: tuple[str, ...] = ()


UNWATCHED: Final = (
    Unwatched("openai", "realtime sessions", "a WebSocket or WebRTC connection is no HTTP request", _BY_HAND),
    Unwatched(
        "openai",
        "Assistants' runs",
        "the usage stands in the run, which a thread holds; OpenAI replaced it by Responses",
        "the Responses API, or " + _BY_HAND,
        ("/v1/threads/t/runs", "/v1/threads/runs"),
    ),
    Unwatched(
        "openai", "fine-tuning and evals", "billed per job after it", _BILL, ("/v1/fine_tuning/jobs", "/v1/evals")
    ),
    Unwatched(
        "openai",
        "storage of vector stores, containers kept open",
        "billed by the day or the session, by no request",
        _BILL,
        ("/v1/vector_stores", "/v1/containers"),
    ),
    Unwatched("google", "live sessions", "a WebSocket connection is no HTTP request", _BY_HAND),
    Unwatched(
        "google",
        "storage of context caches",
        "billed by tokens and hours kept; the answer states the tokens, not the hours",
        _BILL,
        ("/v1beta/cachedContents",),
    ),
    Unwatched(
        "google-vertex",
        "batch prediction jobs",
        "their results are files of Cloud Storage or BigQuery",
        "tokenmeter.observe_batch over the lines",
        ("/v1/projects/p/locations/l/batchPredictionJobs",),
    ),
    Unwatched(
        "aws-bedrock",
        "batch inference, asynchronous invocations (Nova Reel), agents, knowledge bases and flows",
        "other services of boto3, whose results are files of S3 or carry no usage",
        "tokenmeter.observe_batch over the lines, or " + _BY_HAND,
    ),
    Unwatched("anthropic", "code execution by the hour, sessions of managed agents", "no answer states it", _BILL),
    Unwatched(
        "mistral",
        "conversations of agents, moderation and classification",
        "conversations stream events of their own; classifiers state no usage",
        _BY_HAND,
        ("/v1/conversations", "/v1/moderations", "/v1/classifications"),
    ),
    Unwatched(
        "cohere",
        "embed jobs, fine-tuning, the Generate and Classify APIs",
        "jobs write data sets and state their units there; the APIs are retired",
        _BY_HAND,
        ("/v1/embed-jobs", "/v1/classify"),
    ),
    Unwatched(
        "jina",
        "classifier, segmenter, reader and search",
        "other hosts and shapes of usage than chat and embeddings",
        _BY_HAND,
        ("/v1/classify", "/v1/segment"),
    ),
    Unwatched(
        "perplexity", "search and agent requests", "billed by request or step", _BY_HAND, ("/search", "/v1/agent")
    ),
    Unwatched(
        "zhipu",
        "web search, web reader, layout parsing and file parsing as APIs of their own; realtime sessions",
        "billed by request or page, which the answers do not state",
        _BY_HAND,
        ("/api/paas/v4/web_search", "/api/paas/v4/layout_parsing", "/api/paas/v4/tools"),
    ),
    Unwatched(
        "minimax",
        "music, long speech, cloned and designed voices; speech over WebSocket",
        "billed by piece; long speech is a task whose text is a file",
        _BY_HAND,
        ("/v1/music_generation", "/v1/t2a_async_v2", "/v1/voice_clone"),
    ),
    Unwatched(
        "alibaba",
        "realtime speech and multimodal sessions; model training and deployment",
        "WebSocket connections; billed by the hour",
        _BY_HAND,
    ),
    Unwatched(
        "volcengine",
        "3D generation, speech services and knowledge bases",
        "products of their own, beside Ark",
        _BY_HAND,
    ),
    Unwatched(
        "tencent",
        "images and 3D as jobs (Submit..., Query...)",
        "jobs named by an action header, whose answers state no usage",
        _BY_HAND,
    ),
    Unwatched("iflytek", "Spark over WebSocket", "a WebSocket connection is no HTTP request", _BY_HAND),
    Unwatched("xai", "realtime voice sessions, gRPC SDK", "no HTTP request of a library that is hooked", _BY_HAND),
)
