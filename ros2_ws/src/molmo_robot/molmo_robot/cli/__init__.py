"""`molmo-point bridge` and `molmo-point bag`; they join the command through entry points."""
