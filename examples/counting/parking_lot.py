"""Cars on a parking lot: one look, then tiles, and whether the two agree. python examples/counting/parking_lot.py [IMAGE]"""

import sys
from pathlib import Path

import molmo_point as mp

IMAGE = Path(__file__).with_name("cars.jpg")


def main() -> None:
    image = sys.argv[1] if len(sys.argv) > 1 else IMAGE
    found = mp.load("nano").count(image, "cars", tiles="auto")
    tiling = found.tiling
    print(f"{found.count} cars, 90 % interval {found.count_interval}")
    if tiling is not None and tiling.looks > 1:
        print(
            f"one look: {tiling.whole_count}; {tiling.columns} x {tiling.rows} tiles, {tiling.seam_duplicates} seen twice"
        )
        print(
            "look at the points: the two disagree" if tiling.agrees is False else "the two agree"
        )
    mp.draw(image, found).save("cars_counted.png")


if __name__ == "__main__":
    main()
