"""The sources that `make prices-read` reads: package, file inside it, reader, license."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from tools.price_book.sources import (
    cost_calculator,
    genai_prices,
    litellm,
    mlflow,
    model_bank,
    models_dev,
    phoenix,
)
from tools.price_book.sources.reading import Found


class Source(NamedTuple):
    """One source. `file` is where its prices are inside the package; a folder where there are several."""

    client: str
    """`pip` or `npm`."""
    package: str
    file: str
    read: Callable[[Path], Found]
    license: str = "MIT"

    def cite(self, version: str) -> str:
        """How a fact names it."""
        return f"{'npm ' if self.client == 'npm' else ''}{self.package}=={version}:{self.file}"


SOURCES: Final[Mapping[str, Source]] = {
    "litellm": Source("pip", "litellm", "litellm/model_prices_and_context_window_backup.json", litellm.read),
    "mlflow": Source("pip", "mlflow", "mlflow/utils/model_catalog", mlflow.read, "Apache-2.0"),
    "genai-prices": Source("pip", "genai-prices", "genai_prices/data.py", genai_prices.read),
    "cost-calculator": Source(
        "pip", "openai-cost-calculator", "openai_cost_calculator/data/pricing", cost_calculator.read
    ),
    "model-prices": Source("pip", "model-prices", "model_prices/snapshot.json", models_dev.read_history),
    "pi-ai": Source("npm", "@earendil-works/pi-ai", "dist/providers/data", models_dev.read_catalog),
    "omp-catalog": Source("npm", "@oh-my-pi/pi-catalog", "src/models.json", models_dev.read_catalog),
    "phoenix": Source(
        "pip", "arize-phoenix", "phoenix/server/cost_tracking/model_cost_manifest.json", phoenix.read, "Elastic-2.0"
    ),
    "model-bank": Source("npm", "model-bank", "dist/aiModels", model_bank.read, "LobeHub-Community"),
}
