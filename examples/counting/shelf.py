"""A shelf: how many of each product there are, from one encoding of the image. python examples/counting/shelf.py [IMAGE]"""

import sys
from pathlib import Path

import molmo_point as mp

IMAGE = Path(__file__).with_name("shelf.jpg")
PRODUCTS = {"apples": 3, "pizzas": 4, "cups": 1}
"""What should lie there, and how many at least."""


def main() -> None:
    image = sys.argv[1] if len(sys.argv) > 1 else IMAGE
    with mp.load("nano").open(image) as view:
        for product, least in PRODUCTS.items():
            found = view.count(product)
            low, high = found.count_interval or (found.count, found.count)
            need = "refill" if high < least else "enough" if low >= least else "look"
            print(f"{product}: {found.count} ({low} to {high}), at least {least} wanted: {need}")


if __name__ == "__main__":
    main()
