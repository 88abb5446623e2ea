"""Ask a model through `load(..., backend="transformers")`; print a JSON list of answers.

python ask_in_process.py FOLDER IMAGE (point|ask) QUERY...
"""

from __future__ import annotations

import json
import sys

import molmo_point as mp


def main(folder: str, image: str, verb: str, queries: list[str]) -> None:
    """Print what the model answers to each query."""
    with mp.load(folder, backend="transformers", device="cpu", max_new_tokens=60) as pointer:
        answers = [getattr(pointer, verb)(image, query) for query in queries]
    print(json.dumps([a if verb == "ask" else a.model_dump(mode="json") for a in answers]))


if __name__ == "__main__":
    main(*sys.argv[1:4], sys.argv[4:])
