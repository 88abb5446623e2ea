"""`molmo-web`: commands, their options, what they print."""
