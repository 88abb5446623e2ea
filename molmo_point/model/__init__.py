"""The network, bottom up: layers -> vision -> connector -> decoder (with mixture) -> molmo; and the weights that fill it."""
