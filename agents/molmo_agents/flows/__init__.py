"""Flows: steps in a YAML file, checked whole, run, recorded, replayed and reported."""
