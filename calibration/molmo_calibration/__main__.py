"""`python -m molmo_calibration` is `molmo-calibrate`."""

from molmo_calibration.cli.app import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
