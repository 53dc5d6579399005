"""The classes that `tokenmeter.otel` offers, without the SDK until one of them is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tokenmeter.otel


@pytest.mark.parametrize("name", tokenmeter.otel.__all__)
def test_a_public_class_is_offered_by_the_package(name: str) -> None:
    found = getattr(tokenmeter.otel, name)
    assert isinstance(found, type)
    assert found.__name__ == name
    assert name in dir(tokenmeter.otel)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"'tokenmeter\.otel' has no attribute 'CostSpanProcesor'"):
        tokenmeter.otel.CostSpanProcesor  # noqa: B018


def test_importing_the_package_loads_no_sdk() -> None:
    program = "import sys, tokenmeter.otel; print([name for name in sys.modules if 'opentelemetry' in name])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
