"""The guides of CONTRIBUTING.md are followed as a newcomer would: a provider and a price are files, and no code."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")

CALL = """
import openai, tokenmeter
from tokenmeter.testing import capture, provider_server
with provider_server() as server, capture() as records:
    client = tokenmeter.wrap(
        openai.OpenAI(
            base_url="http://api.example.cn/v1", api_key="x", http_client=openai.DefaultHttpxClient(proxy=server.origin)
        )
    )
    messages = [{"role": "user", "content": "你好"}]
    client.chat.completions.create(model="example-1", messages=messages)
    for _ in client.chat.completions.create(model="example-1", messages=messages, stream=True):
        pass
assert "stream_options" in server.requests[1].json
for record in records:
    print(record.provider, record.otel_provider, record.usage_source, record.usage.input_tokens, record.cost.total)
print(tokenmeter.__file__)
"""


def blocks(heading: str) -> list[str]:
    section = GUIDE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"```toml\n(.*?)```", section, re.DOTALL)


def test_a_provider_is_one_file_of_ten_lines(tmp_path: Path) -> None:
    (provider,) = blocks("Add a provider")
    (price,) = blocks("Add a price")
    assert len(provider.splitlines()) <= 10
    package = tmp_path / "tokenmeter"
    shutil.copytree(ROOT / "tokenmeter", package, ignore=shutil.ignore_patterns("__pycache__", "_data"))
    (tmp_path / "tokenizers").symlink_to(ROOT / "tokenizers")
    (package / "providers" / "example.toml").write_text(provider, "utf-8")
    overlay = tmp_path / "my-prices"
    overlay.mkdir()
    (overlay / "example.toml").write_text(price, "utf-8")
    program = f"import os, sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    program += f"os.environ['TOKENMETER_PRICES'] = {str(overlay)!r}\n{CALL}"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    *records, where = done.stdout.splitlines()
    assert where.startswith(str(tmp_path)), "the copy was tried, not the checkout"
    # 16 tokens in at 2, 8 cached at 0.5, 12 out at 8 yuan per million
    assert records == ["example example reported 24 0.000132 CNY"] * 2
