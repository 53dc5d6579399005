"""A package index on a real HTTP server, as pip reads it, with the attestations of who published its wheels."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PUBLISHER = "example/tokenmeter"


class PackageIndex:
    """A simple index (PEP 691, PEP 700, PEP 740) of one project's wheels in a folder, all uploaded on one day."""

    def __init__(self, folder: Path, project: str) -> None:
        self.folder, self.project, self.uploaded = folder, project, "2026-11-20T11:05:00Z"
        self.publisher, self.asked = PUBLISHER, list[str]()
        self.attested: str | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                kind, body = outer.answer(self.path)
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/simple/"

    def answer(self, path: str) -> tuple[str, bytes]:
        name = path.rpartition("/")[2]
        if path == f"/simple/{self.project}/":
            files = [self.listed(wheel) for wheel in sorted(self.folder.glob("*.whl"))]
            page = {"meta": {"api-version": "1.1"}, "name": self.project, "files": files}
            return "application/vnd.pypi.simple.v1+json", json.dumps(page).encode()
        if path.startswith("/integrity/"):
            return "application/json", json.dumps(self.provenance(self.folder / name)).encode()
        wheel = self.folder / name
        return "application/octet-stream", wheel.read_bytes() if wheel.suffix == ".whl" and wheel.exists() else b""

    def listed(self, wheel: Path) -> dict[str, Any]:
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        file: dict[str, Any] = {"filename": wheel.name, "url": f"/files/{wheel.name}", "hashes": {"sha256": digest}}
        file["upload-time"] = self.uploaded
        return {**file, "provenance": f"/integrity/{wheel.name}"} if self.publisher else file

    def provenance(self, wheel: Path) -> dict[str, Any]:
        digest = self.attested or hashlib.sha256(wheel.read_bytes()).hexdigest()
        statement = {"subject": [{"name": wheel.name, "digest": {"sha256": digest}}]}
        envelope = {"statement": base64.b64encode(json.dumps(statement).encode()).decode(), "signature": ""}
        bundle = {
            "publisher": {"kind": "GitHub", "repository": self.publisher},
            "attestations": [{"envelope": envelope}],
        }
        return {"version": 1, "attestation_bundles": [bundle]}


@contextlib.contextmanager
def serving(folder: Path, project: str) -> Iterator[PackageIndex]:
    """The index of the wheels in `folder`, which is made."""
    folder.mkdir()
    index = PackageIndex(folder, project)
    threading.Thread(target=index.server.serve_forever, daemon=True).start()
    try:
        yield index
    finally:
        index.server.shutdown()
        index.server.server_close()
