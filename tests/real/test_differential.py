"""Random programs of calls with faults give the same bare and metered: values, exceptions, chunks and requests.

`python -m tests.real.differential` runs thousands.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.rigs.programs import Program, programs

pytest.importorskip("openai", reason="the programs call by SDKs")
from tests.real.differential import Bench, bench


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder: Path = tmp_path_factory.mktemp("differential")
    with bench(folder) as made:
        yield made


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(program=programs(most=3))
def test_a_program_sees_and_sends_the_same(rig: Bench, program: Program) -> None:
    found = rig.differences(program)
    if found:  # a busy machine can pass a time limit, once
        found = rig.differences(program)
    assert found == []
