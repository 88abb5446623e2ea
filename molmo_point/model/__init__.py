"""The network, bottom up: layers -> vision -> connector -> decoder (with mixture) -> molmo; and weights to fill it."""
