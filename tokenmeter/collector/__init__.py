"""A process that prices spans of any language: OTLP in, the same spans with their costs out.

    senders ──OTLP──▶ http_server, grpc_server ─▶ intake ─▶ spans (prices) ─▶ lanes ─▶ senders ──OTLP──▶ your endpoint

`intake` is the way of one request: room is found for it, it is read, its spans are priced, and a `Lane` hands it on.
While the endpoint answers, its answer is the sender's answer. While it does not, requests are kept in a bounded
queue, in order; when that is full senders are told to keep theirs and when to come again.

Nothing here is loaded by `import tokenmeter`. gRPC and aiohttp do the transport, protobuf's own runtime holds the
messages: a span is never rebuilt, attributes are appended to it.
"""
