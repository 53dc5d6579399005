"""`FileProblem`: what could not be read of a file that people handed in, a bill or an import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["FileProblem"]


@dataclass(frozen=True, slots=True)
class FileProblem:
    """What could not be read of a file: its name, the line, the field, and why. The other lines are read."""

    file: str
    line: int | None
    field: str | None
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message}" if self.field is None else f"{place}: {self.field}: {self.message}"

    def to_dict(self) -> dict[str, Any]:
        """The contract's form of a line that cannot be understood."""
        return {"file": self.file, "line": self.line, "field": self.field, "error": self.message}
