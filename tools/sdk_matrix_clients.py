"""Run every SDK's cases against every major of it, each set in an environment of its own, and print what was metered.

    python tools/sdk_matrix_clients.py [--only current ...] [-- PYTEST ARGUMENTS]

Environments are made as in `sdk_matrix.py`. An environment holds one major of several SDKs, so that each pair of an
SDK's major and a case is run once. The table has a block for each SDK and version, and in it a row for each case: the
calls recorded, the requests at the server, the tokens in and out and where they come from, and how the call ended.
`ok` is what the tests ask for: all that, and a caller who sees what a bare call shows.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from sdk_matrix import ROOT, VENVS, environment

from tokenmeter.clients import SDKS

MATRIX: Final[Mapping[str, tuple[str, ...]]] = {
    "older": ("anthropic[bedrock]==0.125.0", "mistralai==1.12.4"),
    "middle": (
        "anthropic[bedrock]==1.17.0", "cohere==5.21.1", "groq==0.37.1", "huggingface_hub==1.33.0", "mistralai==2.10.1",
        "zhipuai",
    ),
    "current": (
        "anthropic[bedrock,vertex]>=2,<3", "cohere>=7,<8", "groq>=1,<2", "huggingface_hub>=2,<3", "mistralai>=3,<4",
        "ollama", "zai-sdk",
    ),
    # SDKs that do not send by httpx, with the HTTP libraries that others send by; older ones take urllib3 1 only.
    "native-older": (
        "google-genai==1.75.0", "dashscope==1.14.1", "boto3==1.35.0", "aiohttp==3.9.5", "requests==2.28.2",
        "urllib3<2", "httpx",
    ),
    "native-middle": ("google-genai==2.34.0", "dashscope==1.27.8", "qianfan==0.4.12.3", "boto3>=1.40,<1.44", "httpx"),
    "native": (
        "google-genai==3.4.0", "dashscope==2.0.2", "boto3==1.44.5", "tencentcloud-sdk-python-hunyuan==3.1.180",
        "aiohttp>=3.14,<4", "requests>=2.34,<3", "httpx", "httpx2",
    ),
    # The openai of the others is below 3; in each of its forms and ways in it stands in `sdk_matrix.py`.
    "openai-1": ("openai==1.109.1",),
    "openai-3": ("openai>=3,<4",),
    "ark": ("volcengine-ark-runtime",),
    "litellm": ("litellm",),
    # Apart: llama-index allows openai below 3 only, and what fits that takes no current anthropic.
    "frameworks": ("dspy>=3.4", "langchain-anthropic", "langchain-openai", "llama-index-llms-openai"),
    "agents": ("openai-agents", "pydantic-ai-slim[anthropic]>=2.60"),
    # These trace their own model calls.
    "tracing-agents": ("google-adk", "strands-agents[openai]"),
}  # fmt: skip
FRAMEWORKS: Final[Mapping[str, tuple[str, ...]]] = {
    "langchain-anthropic": ("frameworks",), "langchain-openai": ("frameworks",), "litellm": ("frameworks", "openai"),
    "llama-index-llms-openai": ("frameworks",), "openai-agents": ("frameworks",), "pydantic-ai-slim": ("frameworks",),
    "google-adk": ("agent_frameworks",), "strands-agents": ("agent_frameworks",),
}  # fmt: skip
TESTS: Final[Mapping[str, tuple[str, ...]]] = {
    **{sdk.distribution: sdk.tests for sdk in SDKS.values() if sdk.distribution}, **FRAMEWORKS,
    "boto3": SDKS["botocore"].tests,
}  # fmt: skip
"""The test files that a package is for: an environment runs those of what it asks for by name."""
COMPANIONS: Final = ("urllib3",)
"""Packages of which a version is asked for the sake of others."""
FOLDERS: Final = (ROOT / "tests" / "clients", ROOT / "tests" / "otel" / "external")
MAJORS: Final = {sdk.distribution: sdk.majors for sdk in SDKS.values() if sdk.distribution}
DISTRIBUTIONS: Final = {
    "langchain": "langchain-core", "llama-index": "llama-index-core", "pydantic-ai": "pydantic-ai-slim",
    **{root: sdk.distribution for root, sdk in SDKS.items()
       if sdk.distribution and root != "botocore"},
}  # fmt: skip
"""The distribution of what a block of the table is called by, where the names differ."""
CASES: Final = (
    "plain", "stream", "async", "async stream", "early close", "async early close", "cancel", "error", "async error",
    "retry", "async retry",
)  # fmt: skip
"""The order of rows; others come after, by name."""
SHOWN: Final = {"passed": "ok", "failed": "FAILED", "skipped": "-"}


def installed(python: Path) -> dict[str, str]:
    """Every distribution of an environment and its version."""
    code = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    answer = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout
    return {name.lower().replace("_", "-"): version for name, version in json.loads(answer).items()}


def asked(name: str) -> list[str]:
    """The distributions that an environment asks for by name, to be tested."""
    named = (re.split(r"[\[=<>]", package)[0].replace("_", "-") for package in MATRIX[name])
    return [package for package in named if package not in COMPANIONS]


def report_of(name: str) -> Path:
    """Where pytest writes the cases of an environment and what came of each."""
    return VENVS / f"clients-{name}.xml"


def untested(name: str, found: Mapping[str, str], report: Path) -> Iterator[str]:
    """Why a green environment proves less than it seems: a major outside the table, a package without a case."""
    passed = [case for case in ElementTree.parse(report).iter("testcase") if not len(case)]
    ran = {part.removeprefix("test_") for case in passed for part in case.get("classname", "").split(".")}
    for package in asked(name):
        majors = MAJORS.get(package)
        if majors and int(found[package].partition(".")[0]) not in majors:
            yield f"{package} {found[package]} is none of the majors {majors} of the table"
        if ran.isdisjoint(TESTS[package]):
            yield f"no case of {package} passed"


def run(name: str, python: Path, extra: list[str]) -> tuple[list[dict[str, Any]], int, str]:
    """The rows of one environment, pytest's exit status and its last line."""
    table, report = VENVS / f"clients-{name}.jsonl", report_of(name)
    table.unlink(missing_ok=True)
    names = {f"test_{file}.py" for package in asked(name) for file in TESTS[package]}
    files = sorted(str(path) for name in names for folder in FOLDERS for path in folder.rglob(name))
    command = [str(python), "-m", "pytest", "-n", "2", "-rfE", "-p", "no:cacheprovider", f"--junitxml={report}", *files]
    environ = os.environ | {"CLIENTS_TABLE": str(table), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([*command, *extra], cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    for line in lines:
        if line.startswith(("FAILED", "ERROR")):
            print(f"  {name}: {line}")
    rows = [json.loads(row) for row in table.read_text(encoding="utf-8").splitlines()] if table.exists() else []
    return rows, done.returncode, lines[-1] if lines else done.stderr.strip()


def version(sdk: str, found: Mapping[str, str]) -> str:
    """An SDK as it is called in the tests, with the version that was installed."""
    package = sdk.partition(" ")[0]
    return f"{sdk} {found.get(DISTRIBUTIONS.get(package, package).lower().replace('_', '-'), '?')}"


def rank(row: Mapping[str, Any]) -> tuple[int, str]:
    """Where a row stands in its block: `error[stream]` after `error`."""
    case = str(row["case"])
    name = case.partition("[")[0]
    return (CASES.index(name) if name in CASES else len(CASES), case)


def print_table(blocks: Mapping[str, list[dict[str, Any]]]) -> None:
    """One block for each SDK and version, one row for each case."""
    head = f"{'case':26}{'calls':>6}{'requests':>10}  {'in / out':16}{'source':22}{'end':22}"
    for title, rows in sorted(blocks.items()):
        print(f"\n{title}\n  {head}")
        for row in sorted(rows, key=rank):
            if row["outcome"] == "skipped":
                print(f"  {row['case']:26}{'-':>6}{'-':>10}  {row['reason']}")
                continue
            usage = ", ".join(" / ".join("-" if part is None else str(part) for part in pair) for pair in row["usage"])
            source, end = ", ".join(row["source"]), ", ".join(row["end"])
            print(
                f"  {row['case']:26}{row['calls']:>6}{row['requests']:>10}  {usage:16}{source:22}{end:22}"
                f"{SHOWN[row['outcome']]}"
            )


def main(argv: list[str] | None = None) -> int:
    """Run the matrix; 0 if every environment passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(MATRIX), default=list(MATRIX))
    parser.add_argument("rest", nargs="*", help="arguments for pytest, after --")
    arguments = parser.parse_args(argv)
    blocks: dict[str, dict[str, dict[str, Any]]] = {}
    ends: dict[str, tuple[int, str]] = {}
    for name in arguments.only:
        python = environment(f"clients-{name}", MATRIX[name])
        found = installed(python)
        rows, status, last = run(name, python, arguments.rest)
        if status == 0 and not arguments.rest and (words := list(untested(name, found, report_of(name)))):
            status, last = 1, "; ".join([last, *words])
        for row in rows:
            # A second environment may have the same version: what failed in either has failed.
            block = blocks.setdefault(version(row["sdk"], found), {})
            if block.get(row["case"], row)["outcome"] != "failed":
                block[row["case"]] = row
        ends[name] = (status, last)
    # An environment without an SDK skips its cases: what another one has run is what counts.
    ran = {title: list(block.values()) for title, block in blocks.items()}
    print_table({title: rows for title, rows in ran.items() if any(row["outcome"] != "skipped" for row in rows)})
    print()
    for name, (status, last) in ends.items():
        print(f"{name}: {'ok' if status == 0 else 'FAILED'}: {last}")
    return 0 if all(status == 0 for status, _ in ends.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
