"""`python -m benchmarks [NAME...]`: run the benchmarks that need no other software, one after another."""

from __future__ import annotations

import argparse
import subprocess
import sys

NAMES = ("load", "core", "preprocess", "engine", "drafting")


def main() -> int:
    """Run the benchmarks that are named, or all; return 1 if one of them failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure on this machine. All of them together take hours; each prints a table of its own. "
        "The other files of the folder are run by their names: python -m benchmarks.NAME.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; by default all"
    )
    names = parser.parse_args().names or NAMES
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        parser.error(f"no benchmark is called {unknown[0]!r}: expected {', '.join(NAMES)}")
    failed = False
    for name in names:
        print(f"\n## python -m benchmarks.{name}", flush=True)
        failed |= (
            subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
            != 0
        )
    return int(failed)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped")
