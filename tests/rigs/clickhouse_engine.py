"""Serves ClickHouse's HTTP protocol over the engine of the chdb package: `python clickhouse_engine.py PORT FOLDER`.

As much of the protocol as clickhouse-connect speaks: a user and a password, a database, settings and parameters of a
query, `INSERT … FORMAT Native` with its compressed block, answers in Native, exceptions with their code. What the
engine makes of it is its own doing.
"""

from __future__ import annotations

import base64
import io
import json
import re
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import chdb

USERS = {"default": "s3cret-word", "reader": "read"}
_TRANSPORT = {
    "query", "database", "session_id", "session_timeout", "session_check", "query_id", "default_format", "compress",
    "decompress", "wait_end_of_query", "client_protocol_version", "enable_http_compression", "role", "quota_key",
    "send_progress_in_http_headers", "http_headers_progress_interval_ms", "user", "password", "buffer_size",
}  # fmt: skip
_INSERT = re.compile(rb"\s*(INSERT\s+INTO\s+.*?)\s+FORMAT\s+Native\n", re.IGNORECASE | re.DOTALL)
_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_CODE = re.compile(r"Code: ([0-9]+)")
# One statement after the other: what shippers do at once still mixes, statement by statement.
_turn = threading.Lock()


class Refusal(Exception):
    """An exception of the server itself."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    engine: str

    def do_GET(self) -> None:
        self._answer(b"Ok.\n", {}) if self.path.startswith("/ping") else self.do_POST()

    def do_POST(self) -> None:
        body = self._body()
        options = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        try:
            self._check_user()
            with _turn:
                data, form = self._run(options, body)
        except Refusal as error:
            self._fail(error.status, str(error))
        except RuntimeError as error:  # chdb raises its own kind of it
            self._fail(404 if "Code: 60." in str(error) else 500, str(error))
        else:
            self._answer(data, {"X-ClickHouse-Format": form})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self._decoded(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return self._decoded(b"".join(parts))

    def _decoded(self, data: bytes) -> bytes:
        encoding = self.headers.get("Content-Encoding")
        if encoding == "lz4":
            import lz4.frame

            return bytes(lz4.frame.LZ4FrameFile(io.BytesIO(data)).read())  # a frame for each block
        assert encoding is None, f"the client compresses by {encoding}"
        return data

    def _check_user(self) -> None:
        kind, _, secret = self.headers.get("Authorization", "").partition(" ")
        name, _, password = base64.b64decode(secret).decode().partition(":") if kind == "Basic" else ("default", "", "")
        if USERS.get(name) != password:
            raise Refusal(
                403, f"Code: 516. DB::Exception: {name}: Authentication failed: password is incorrect, or there is no "
                "user with such name. (AUTHENTICATION_FAILED)",
            )  # fmt: skip
        self.user = name

    def _run(self, options: dict[str, str], body: bytes) -> tuple[bytes, str]:
        connection = chdb.connect(self.engine)
        try:
            if database := options.get("database"):
                connection.query(f"USE `{database}`")
            if self.user == "reader":
                connection.query("SET readonly = 2")
            for name, value in options.items():
                if name not in _TRANSPORT and not name.startswith("param_"):
                    text = value.replace("\\", "\\\\").replace("'", "\\'")
                    connection.query(f"SET {name} = '{text}'")
            if (found := _INSERT.match(body)) is not None:
                return self._insert(connection, found, body)
            query = "\n".join(part for part in (options.get("query", ""), body.decode()) if part)
            form = found[1] if (found := _FORMAT.search(query)) else options.get("default_format", "TabSeparated")
            values = {name[6:]: _unescaped(value) for name, value in options.items() if name.startswith("param_")}
            return connection.query(query, form, params=values).bytes(), form
        finally:
            connection.close()

    def _insert(self, connection: Any, found: re.Match[bytes], body: bytes) -> tuple[bytes, str]:
        with tempfile.NamedTemporaryFile(suffix=".native") as file:
            file.write(body[found.end() :])
            file.flush()
            connection.query(f"{found[1].decode()} FROM INFILE '{file.name}' FORMAT Native")
        return b"", "Native"

    def _fail(self, status: int, text: str) -> None:
        code = found[1] if (found := _CODE.search(text)) else "1000"
        self._answer(text.encode(), {"X-ClickHouse-Exception-Code": code}, status)

    def _answer(self, data: bytes, headers: dict[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in {**headers, "X-ClickHouse-Timezone": "UTC", "X-ClickHouse-Summary": json.dumps({})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _unescaped(value: str) -> str:
    """A parameter of HTTP, which is escaped as TSV; chdb's are not."""
    return re.sub(
        r"\\(.)",
        lambda found: {"n": "\n", "t": "\t", "0": "\0", "r": "\r", "b": "\b", "f": "\f"}.get(found[1], found[1]),
        value,
    )


def main(port: str, folder: str) -> None:
    Handler.engine = str(Path(folder) / "data")
    kept = chdb.connect(Handler.engine)  # the engine lives as long as a connection of it
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    server.daemon_threads = True
    print("ready", flush=True)
    server.serve_forever()
    kept.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
