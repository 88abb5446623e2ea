"""Depth images: units, samples around a pixel, the strategies that choose one depth, their noise."""
