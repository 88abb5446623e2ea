"""Cells in many images: a run into a folder, resumable, with a table. python examples/counting/cells.py [FOLDER]"""

import sys
from pathlib import Path

import molmo_point as mp
from molmo_point.count_runs.items import file_item
from molmo_point.count_runs.journal import Journal
from molmo_point.count_runs.results import write_results
from molmo_point.count_runs.run import Counter

FOLDER = Path(__file__).parent


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    items = [
        file_item(path.name, str(path), ("circles",)) for path in sorted(folder.glob("cells*.jpg"))
    ]
    with Journal(Path("cells_counted"), {"queries": ["circles"]}) as journal:
        counted = list(Counter(mp.load("nano"), journal, tiles="auto").run(items))
        entries = [entry for one in counted for entry in one.entries]
        print(*write_results(journal.folder, entries))
    for entry in entries:
        print(entry.file, entry.pointing.count if entry.pointing is not None else entry.error)


if __name__ == "__main__":
    main()
