"""Scorers of benchmarks as their owners define them, kept apart and named where published ones disagree.

scorer      what a scorer is: an answer and the truth in, values of 0-1 or errors out
ai2_text    how Ai2's code of the first Molmo reads points and counts from text
points      points against masks by assignment
counts      counts: exact, off by one, absolute error
free_space  points in masks and polygons: Point-Bench (three), Where2Place (two), RefSpatial-Bench (two), RoboSpatial-Home
screens     ScreenSpot, ScreenSpot-v2, ScreenSpot-Pro
table       all of them, by the layouts they are for
summary     means with intervals, over all items and over categories
"""
