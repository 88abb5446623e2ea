"""`python -m molmo_agents`: the same commands as `molmo-web`."""

from __future__ import annotations

from molmo_agents.cli.app import main

if __name__ == "__main__":
    main()
