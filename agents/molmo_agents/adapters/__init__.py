"""Bridges to the tools people already use. Each file imports its own tool only, so that their pins need not agree."""
