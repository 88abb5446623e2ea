"""How often a pointer presses the right thing: generated pages and MiniWoB++."""
