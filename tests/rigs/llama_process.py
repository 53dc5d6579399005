"""llama.cpp's own HTTP server, in a process of its own: `python llama_process.py MODEL PORT`, until its input ends."""

from __future__ import annotations

import sys

import xllamacpp


def main(model: str, port: int) -> None:
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {"tiny"}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.endpoint_metrics = True
    params.use_jinja = True
    params.warmup = False
    params.n_ctx = 4096
    params.n_parallel = 1  # one slot, so that what is cached is what came last
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = 1
    server = xllamacpp.Server(params)
    sys.stdin.read()
    del server


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
