"""Client of Phoenix's model price table, over its GraphQL API, with the standard library only.

Phoenix prices spans by this table as they arrive. A row is a name, a pattern that a span's model must match,
a provider (preferred where the span names the same one), a start instant, and prices per million tokens of a type.
Built-in rows cannot be changed; a matching custom row takes precedence.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import datetime
from http.client import HTTPException
from typing import Any, Final, NamedTuple

from tokenmeter.errors import ConfigurationError

__all__ = ["ModelRow", "PhoenixTable", "Refused", "TokenPrice"]

_AT_ONCE: Final = 50
_PAGE: Final = 1000
_SECONDS: Final = 60
_OLD: Final = "is it a Phoenix of version 11 or newer? Older ones have no table of prices that can be written"
_FIELDS: Final = "id name provider namePattern kind startTime tokenPrices { tokenType kind costPerMillionTokens }"


class TokenPrice(NamedTuple):
    """Price of a million tokens of a type, in USD; `prompt` is False for types of the completion."""

    token_type: str
    prompt: bool
    per_million: float


class ModelRow(NamedTuple):
    """One row of the table. `id` is None before Phoenix has stored it."""

    name: str
    provider: str
    pattern: str
    start: datetime | None
    prices: frozenset[TokenPrice]
    id: str | None = None
    built_in: bool = False

    def same(self, other: ModelRow) -> bool:
        """Whether two rows have equal prices. Phoenix stores a price per token, so the last digit may differ."""
        if self[:4] != other[:4] or len(self.prices) != len(other.prices):
            return False
        pairs = zip(sorted(self.prices), sorted(other.prices), strict=True)
        return all(
            one[:2] == two[:2] and abs(one.per_million - two.per_million) <= 1e-9 * abs(one.per_million)
            for one, two in pairs
        )

    def variables(self) -> dict[str, Any]:
        """The row as GraphQL input of a mutation."""
        costs = [
            {
                "tokenType": price.token_type,
                "costPerMillionTokens": price.per_million,
                "kind": "PROMPT" if price.prompt else "COMPLETION",
            }
            for price in sorted(self.prices)
        ]
        start = None if self.start is None else self.start.isoformat()
        answer = {
            "name": self.name, "provider": self.provider, "namePattern": self.pattern, "startTime": start,
            "costs": costs,
        }  # fmt: skip
        return answer if self.id is None else {"id": self.id, **answer}


class Refused(NamedTuple):
    """A row that Phoenix refused, with its message."""

    row: ModelRow
    message: str


class PhoenixTable:
    """The table of one Phoenix. Methods raise ConfigurationError with a remedy where it cannot be reached."""

    def __init__(self, endpoint: str, api_key: str | None = None) -> None:
        # One variable names this endpoint for exporters too, with the path of the traces.
        self.endpoint = endpoint.rstrip("/").removesuffix("/v1/traces")
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    def rows(self) -> list[ModelRow]:
        """Every row, built-in ones included."""
        query = f"query ($after: String) {{ generativeModels(first: {_PAGE}, after: $after) {{ "
        query += f"pageInfo {{ hasNextPage endCursor }} edges {{ node {{ {_FIELDS} }} }} }} }}"
        rows: list[ModelRow] = []
        after = None
        while True:
            page = self._ask(query, {"after": after})["generativeModels"]
            rows.extend(_row(edge["node"]) for edge in page["edges"])
            if not page["pageInfo"]["hasNextPage"]:
                return rows
            after = page["pageInfo"]["endCursor"]

    def create(self, rows: Sequence[ModelRow]) -> list[Refused]:
        """Add rows; returns the refused ones."""
        return list(self._change("createModel", "CreateModelMutationInput", rows))

    def update(self, rows: Sequence[ModelRow]) -> list[Refused]:
        """Change the rows with these ids; returns the refused ones."""
        return list(self._change("updateModel", "UpdateModelMutationInput", rows))

    def delete(self, rows: Sequence[ModelRow]) -> list[Refused]:
        """Delete the rows with these ids; returns the refused ones."""
        return list(self._change("deleteModel", "DeleteModelMutationInput", rows))

    def _change(self, mutation: str, kind: str, rows: Sequence[ModelRow]) -> Iterator[Refused]:
        for start in range(0, len(rows), _AT_ONCE):
            part = rows[start : start + _AT_ONCE]
            names = [f"m{number}" for number in range(len(part))]
            inputs = ", ".join(f"${name}: {kind}!" for name in names)
            body = " ".join(f"{name}: {mutation}(input: ${name}) {{ __typename }}" for name in names)
            deleting = mutation == "deleteModel"
            variables = {
                name: {"id": row.id} if deleting else row.variables() for name, row in zip(names, part, strict=True)
            }
            for error in self._send(f"mutation ({inputs}) {{ {body} }}", variables).get("errors") or ():
                path = error.get("path") if isinstance(error, dict) else None
                if not path or path[0] not in names:
                    raise ConfigurationError(f"{self.endpoint}: {_complaint(error)}")
                yield Refused(part[names.index(path[0])], str(error.get("message")))

    def _ask(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        answer = self._send(query, variables)
        for error in answer.get("errors") or ():
            raise ConfigurationError(f"{self.endpoint}: {_complaint(error)}")
        data: dict[str, Any] = answer["data"]
        return data

    def _send(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        try:
            request = urllib.request.Request(f"{self.endpoint}/graphql", body, self._headers)
            with urllib.request.urlopen(request, timeout=_SECONDS) as reply:
                content = reply.read()
        except urllib.error.HTTPError as error:
            raise ConfigurationError(f"{self.endpoint}: {_refusal(error)}") from None
        except (urllib.error.URLError, HTTPException, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise ConfigurationError(
                f"{self.endpoint}: no Phoenix answers ({reason}); start one with `phoenix serve`, "
                "or name its address with --endpoint http://host:6006"
            ) from None
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or not ({"data", "errors"} & answer.keys()):
            raise ConfigurationError(f"{self.endpoint}: what answers there is no Phoenix: /graphql gives no GraphQL")
        return answer


def _refusal(error: urllib.error.HTTPError) -> str:
    if error.code in (401, 403):
        return f"Phoenix refuses (status {error.code}): give a key of it with --api-key or PHOENIX_API_KEY"
    if error.code in (404, 405):
        return f"no GraphQL there (status {error.code}): --endpoint is Phoenix's root, such as http://127.0.0.1:6006"
    return f"Phoenix answers status {error.code}: see its own log"


def _complaint(error: object) -> str:
    message = str(error.get("message") if isinstance(error, dict) else error)
    old = "Cannot query field" in message or "Unknown type" in message
    return f"{message}; {_OLD}" if old else message


def _row(node: dict[str, Any]) -> ModelRow:
    start = node["startTime"]
    return ModelRow(
        name=node["name"],
        provider=node["provider"] or "",
        pattern=node["namePattern"],
        start=None if start is None else datetime.fromisoformat(start),
        prices=frozenset(
            TokenPrice(price["tokenType"], price["kind"] == "PROMPT", price["costPerMillionTokens"])
            for price in node["tokenPrices"]
        ),
        id=node["id"],
        built_in=node["kind"] == "BUILT_IN",
    )
