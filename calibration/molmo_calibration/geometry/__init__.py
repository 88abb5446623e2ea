"""Rotations, rigid transforms, trees of frames."""
