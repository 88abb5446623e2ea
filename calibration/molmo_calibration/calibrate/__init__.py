"""Boards and their detection, intrinsics, board poses, hand-eye."""
