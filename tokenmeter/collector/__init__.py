"""`tokenmeter collector`: a process that receives OTLP, adds costs to spans of model calls, forwards everything.

    senders ──OTLP──▶ http_server, grpc_server ─▶ receive ─▶ price_spans ─▶ forward_queue ─▶ senders ──OTLP──▶ endpoint

Called by `tokenmeter/cli/collector.py`. Read `receive.py` first: one request is admitted, parsed, priced and handed to
the `ForwardQueue` of its signal. While the endpoint answers, its answer is returned to the sender. While it does not,
requests wait in a bounded queue, in order; when the queue is full, senders get a retryable error with a retry delay.

`import tokenmeter` loads nothing of this folder. gRPC and aiohttp do the transport, protobuf's runtime keeps the
messages: no span is rebuilt, attributes are appended to it.
"""
