"""A program that knows nothing of tokenmeter: run it under `opentelemetry-instrument`.

    pip install 'tokenmeter-sdk[openai,otel,zero-code]'
    OTEL_TRACES_EXPORTER=console OTEL_METRICS_EXPORTER=console OTEL_LOGS_EXPORTER=none \
        opentelemetry-instrument python examples/zero_code.py

With OPENAI_BASE_URL and OPENAI_API_KEY set it calls that provider; without, a provider on this machine.
"""

import contextlib
import os

import openai


def main() -> None:
    with contextlib.ExitStack() as stack:
        options = {}
        if "OPENAI_API_KEY" not in os.environ:
            from tokenmeter.testing import provider_server  # only to have somebody to call

            server = stack.enter_context(provider_server())
            options = {
                "base_url": "http://api.deepseek.com",
                "api_key": "any",
                "http_client": openai.DefaultHttpxClient(proxy=server.origin),
            }
        client = openai.OpenAI(**options)
        messages = [{"role": "user", "content": "你好，请用一句话介绍你自己。"}]
        answer = client.chat.completions.create(model="deepseek-chat", messages=messages)
        print(answer.choices[0].message.content)
        for chunk in client.chat.completions.create(model="deepseek-chat", messages=messages, stream=True):
            print(chunk.choices[0].delta.content or "", end="")
        print()


if __name__ == "__main__":
    main()
