"""Access to the collector: TLS and the bearer token of its senders, over HTTP and gRPC."""

from __future__ import annotations

import hmac
import os
import ssl
from collections.abc import Mapping
from typing import Any, Final

from tokenmeter.errors import ConfigurationError

__all__ = ["TOKEN_VARIABLE", "bearer_of", "grpc_credentials", "read_token", "ssl_context"]

TOKEN_VARIABLE: Final = "TOKENMETER_COLLECTOR_TOKEN"


def read_token(path: str | None, environment: Mapping[str, str] | None = None) -> str | None:
    """The token in a file, else in TOKENMETER_COLLECTOR_TOKEN; None where neither is given.

    Raises ConfigurationError for a file that cannot be read, and for an empty or multi-line token.
    """
    if path is not None:
        token, source = _read("--token-file", path).decode("utf-8", "replace").strip(), f"--token-file: {path}"
    else:
        given = (os.environ if environment is None else environment).get(TOKEN_VARIABLE)
        if given is None:
            return None
        token, source = given.strip(), TOKEN_VARIABLE
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError(f"{source} holds no token: one line of printable ASCII without spaces is needed")
    return token


def bearer_of(authorization: str | None, token: str) -> bool:
    """Whether an `Authorization` header carries the token. Takes the same time for every wrong one."""
    scheme, _, given = (authorization or "").partition(" ")
    return hmac.compare_digest(given.strip().encode(), token.encode()) and scheme.lower() == "bearer"


def ssl_context(certificate: str, key: str) -> ssl.SSLContext:
    """TLS for the HTTP port. Raises ConfigurationError for files that are no certificate and its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")  # never ask for a passphrase at the terminal
    except (OSError, ValueError) as error:  # SSLError is an OSError
        raise ConfigurationError(f"--tls-cert, --tls-key: {certificate} and {key} cannot be used: {error}") from None
    return context


def grpc_credentials(certificate: str, key: str) -> Any:
    """TLS for the gRPC port."""
    import grpc

    return grpc.ssl_server_credentials([(_read("--tls-key", key), _read("--tls-cert", certificate))])


def _read(flag: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(2**20)
    except OSError as error:
        raise ConfigurationError(f"{flag}: {path} cannot be read: {error.strerror}") from None
