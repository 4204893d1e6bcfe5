"""The child process in which llama.cpp runs, until its parent closes its input.

A process of its own, because xllamacpp holds Python's lock while it loads a model (seconds in which
a server could answer nobody) and while it stops (for ever, where an answer is being read in the
same process), and because a fault in llama.cpp ends the process it is in.
"""

import json
import os
import sys
from typing import Any


def main() -> None:
    """Read the settings, serve, say where, and end with the parent."""
    settings = json.loads(sys.stdin.readline())
    try:
        server, device = _start(settings)
    except (RuntimeError, ValueError) as fault:
        _say({"error": str(fault)})
        sys.exit(1)
    try:
        _say({"url": server.listening_address, "device": device})
        sys.stdin.read()  # returns when the parent ends, however it ends
    finally:
        # No answer is worth waiting for any more. An ordinary end could wait for ever: also where
        # the parent is gone before it was told the address, and that raises.
        os._exit(0)


def _start(settings: dict[str, Any]) -> tuple[Any, str]:  # Any: xllamacpp has no types
    import xllamacpp

    gpus = [
        device["description"]
        for device in xllamacpp.get_device_info()
        if device["type"]
        in (
            xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_GPU,
            xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_IGPU,
        )
    ]
    layers = settings["gpu_layers"] if gpus else 0
    threads = settings["n_threads"] or len(os.sched_getaffinity(0))

    params = xllamacpp.CommonParams()
    params.model.path = settings["model"]
    params.model_alias = {settings["alias"]}
    params.hostnames = ["127.0.0.1"]
    params.port = settings["port"]
    params.api_keys = [settings["api_key"]]
    params.n_ctx = settings["n_ctx"] * settings["n_parallel"]
    params.n_parallel = settings["n_parallel"]
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.n_gpu_layers = layers
    params.chat_template = settings["chat_template"]
    params.fit_params = False  # the configured context, or an error; never a silently smaller one
    params.cache_ram_mib = 0  # other users' prompts are not kept
    params.ui = False
    params.verbosity = 1
    return xllamacpp.Server(params), gpus[0] if layers else "cpu"


def _say(words: dict[str, str]) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    main()
