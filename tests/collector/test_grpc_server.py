"""Messages over gRPC that never end."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable

import grpc

from tests.rigs.collector_rig import HttpEndpoint, Running, health_watched
from tests.rigs.messages import calls
from tokenmeter.collector.signals import TRACES

Collect = Callable[..., Running]
PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
BODY = calls(1, 2).SerializeToString()
MIB = 2**20


def half_grpc(port: int, size: int) -> socket.socket:
    """A connection of HTTP/2 with one gRPC request, whose message of `size` bytes is never sent to its end."""

    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload

    def literal(name: bytes, value: bytes) -> bytes:
        return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value

    headers = b"".join(
        literal(*pair)
        for pair in (
            (b":method", b"POST"), (b":scheme", b"http"), (b":path", TRACES.method.encode()), (b":authority", b"x"),
            (b"content-type", b"application/grpc"), (b"te", b"trailers"),
        )
    )  # fmt: skip
    one = socket.create_connection(("127.0.0.1", port), 30)
    one.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, headers))
    data = b"\0" + struct.pack(">I", size) + b"\0" * 16000
    one.sendall(frame(0, 0, 1, data) + frame(0, 0, 1, b"\0" * 16000) * 2)
    return one


def test_a_slow_message_over_grpc_is_cut_off(endpoint: HttpEndpoint, collect: Collect) -> None:
    running = collect(endpoint=endpoint.url, body_timeout=1.0, largest=MIB, queue=MIB)  # one is read at a time
    slow = half_grpc(running.collector.grpc_port, 500_000)
    time.sleep(0.3)
    with health_watched(running, 2.0), grpc.insecure_channel(running.grpc) as channel:
        begun = time.monotonic()
        assert channel.unary_unary(TRACES.method)(BODY, timeout=60) == b""
    assert time.monotonic() - begun < 30, "the next one waits for the slow one's time limit and no longer"
    slow.close()
