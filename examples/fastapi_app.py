"""A FastAPI app with a plain and a streaming endpoint; every answer's cost is known, also when the client hangs up.

    pip install 'tokenmeter-sdk[openai]' fastapi uvicorn
    OPENAI_BASE_URL=https://api.deepseek.com OPENAI_API_KEY=... uvicorn examples.fastapi_app:app

The scope is opened inside the generator that feeds the response, so that it lives as long as the stream does.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import openai
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

import tokenmeter

tokenmeter.instrument()
app = FastAPI()
MODEL = os.environ.get("MODEL", "deepseek-chat")


def client() -> openai.AsyncOpenAI:
    """One client for the process; OPENAI_BASE_URL and OPENAI_API_KEY say where it goes."""
    if not hasattr(app.state, "client"):
        app.state.client = openai.AsyncOpenAI()
    made: openai.AsyncOpenAI = app.state.client
    return made


@app.get("/ask")
async def ask(question: str, user: str = "anonymous") -> dict[str, Any]:
    """The whole answer, and what it cost."""
    async with tokenmeter.scope("ask", user=user) as scope:
        messages = [{"role": "user", "content": question}]
        answer = await client().chat.completions.create(model=MODEL, messages=messages)
    return {"answer": answer.choices[0].message.content, "cost": [str(money) for money in scope.cost.values()]}


@tokenmeter.scope("stream")
async def words(question: str) -> AsyncIterator[str]:
    """The answer as it comes. A client that hangs up closes the stream; what was received is counted."""
    messages = [{"role": "user", "content": question}]
    stream = await client().chat.completions.create(model=MODEL, messages=messages, stream=True)
    async with stream:
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content


@app.get("/stream")
async def stream(question: str) -> StreamingResponse:
    """The answer as a stream of text."""
    return StreamingResponse(words(question), media_type="text/plain; charset=utf-8")
