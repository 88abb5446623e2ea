"""`molmo-calibrate`: commands and their options."""
