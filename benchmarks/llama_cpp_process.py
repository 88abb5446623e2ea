"""llama.cpp in a process of its own, which needs xllamacpp and no torch: `llama_cpp_side` starts it and talks to it by lines.

    python llama_cpp_process.py FILE.gguf THREADS PREFIX

Each line of the input is a number of tokens to write behind a prefix of random tokens, which it keeps; each line of the output is
JSON with llama.cpp's own timings and the CPU seconds.
"""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any


def main() -> None:
    """Load the file, answer each line."""
    import xllamacpp

    path, threads, prefix = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    given: Any = xllamacpp.CommonParams()
    given.model.path = path
    given.n_ctx, given.n_parallel, given.n_gpu_layers = 4096, 1, 0
    given.cpuparams.n_threads = given.cpuparams_batch.n_threads = threads
    given.warmup = given.fit_params = False
    server: Any = xllamacpp.Server(given)
    random.seed(0)
    ids = [random.randrange(1000, 50_000) for _ in range(prefix)]
    say({"system": str(xllamacpp.get_system_info())})
    request = {"prompt": ids, "ignore_eos": True, "temperature": 0.0, "cache_prompt": True}
    for line in sys.stdin:
        cpu = time.process_time()
        out = server.handle_completions(request | {"n_predict": int(line)})
        if isinstance(out, (str, bytes)):
            out = json.loads(out)
        say(
            {
                "timings": out.get("timings"),
                "cpu_s": time.process_time() - cpu,
                "text": str(out)[:200],
            }
        )


def say(what: dict[str, Any]) -> None:
    """Print a line of JSON."""
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
