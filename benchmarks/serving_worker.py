"""One side of `benchmarks.serving`: a server in a process of its own, of the commit whose folder PYTHONPATH names.

    python serving_worker.py CHECKPOINT [SCRIPT]

With SCRIPT (text that the model is to write) a random network's choices are replaced by the tokens of that text: it works as a
trained one does. Commands on stdin: `reset`, and `report`, which prints what was since: [seconds of all gaps, seconds of all
passes, peak resident bytes, seconds of CPU time]. A gap is the time from the end of one pass of an answer to the end of its next.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.append(
    str(Path(__file__).parents[1])
)  # behind PYTHONPATH: `benchmarks` of this side, the package of that commit

import molmo_point as mp
from benchmarks.scripted import ScriptedDecodeState
from molmo_point.engine import engine as engine_module
from molmo_point.engine.batch import BatchDecoder
from molmo_point.preprocess.tokenizer import Tokenizer


class Passes:
    """Notes when each answer under way had its passes."""

    def __init__(self) -> None:
        self.gaps: list[float] = []
        self.passes: list[float] = []
        self._last: dict[int, float] = {}
        self._cpu = 0.0
        step = BatchDecoder.step

        def noted(decoder: BatchDecoder) -> Any:
            start = time.perf_counter()
            results = step(decoder)
            self._note(decoder, start, time.perf_counter())
            return results

        BatchDecoder.step = noted  # type: ignore[method-assign]

    def reset(self) -> None:
        """Forget all passes, and the peak of the process's memory."""
        self.gaps, self.passes = [], []
        self._cpu = time.process_time()
        Path("/proc/self/clear_refs").write_text("5")

    def report(self) -> list[Any]:
        """Return gaps, passes, the peak of the process's memory, and its CPU time."""
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next(line for line in lines if line.startswith("VmHWM"))
        cpu = time.process_time() - self._cpu
        return [self.gaps, self.passes, int(peak.split()[1]) * 1024, cpu]

    def _note(self, decoder: BatchDecoder, start: float, end: float) -> None:
        self.passes.append(end - start)
        running = [id(entry) for entry in decoder._entries]
        self.gaps += [end - self._last[entry] for entry in running if entry in self._last]
        self._last = dict.fromkeys(running, end)


def follow_script(folder: Path, text: str) -> None:
    """Have every answer consist of the tokens of a text."""
    tokens = Tokenizer(folder).encode(text)

    def scripted(prompt: Any, *, drafter: Any, stop: int, **others: Any) -> ScriptedDecodeState:
        return ScriptedDecodeState(prompt, [*tokens, stop], drafter)

    engine_module.DecodeState = scripted  # type: ignore[assignment,misc]


def main() -> None:
    """Serve until stdin ends."""
    checkpoint, *script = sys.argv[1:]
    passes = Passes()
    if script:
        follow_script(Path(checkpoint), script[0])
    with mp.serve(
        checkpoint, zmq="tcp://127.0.0.1:*", http=None, publish="off", block=False
    ) as server:
        while not server.dispatcher.worker.state()[0]:
            time.sleep(0.05)
            if server.dispatcher.worker.failure is not None:
                raise server.dispatcher.worker.failure
        print(server.zmq.address, flush=True)
        for line in sys.stdin:
            result = getattr(passes, line.strip())()
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
