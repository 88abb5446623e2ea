"""Counting by pointing: more than one look, and an interval around the count.

grid      where tiles lie
merge     the points of all tiles as one answer: optimal assignment at the seams
tiled     the first look, the number of tiles, and the merged answer
spacing   how close the points of an answer lie
interval  the distribution of the true number, given an answer
"""
