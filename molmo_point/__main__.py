"""`python -m molmo_point` is `molmo-point`."""

from molmo_point.cli import main

if __name__ == "__main__":
    main()
