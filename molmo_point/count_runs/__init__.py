"""Count in many images: a folder with a table, the points, annotated images and a contact sheet, resumable at any moment.

items     what is counted: an image, or a frame of a video, with its queries
tables_in CSV and Parquet files that list images and queries
videos    frames of videos
journal   the answers so far: one line each in points.jsonl, on disk before the next question
run       ask about every item, several at a time
results   counts.csv, counts.jsonl, counts.parquet
sheet     contact sheets
summary   what a run found, in a few lines
"""
