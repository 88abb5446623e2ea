"""Layouts in which labelled images are published.

layout      what a layout is; data opened once, to find out which layout they have
rows        rows checked one by one; images and masks by name, in folders and archives
parquet     rows of Parquet files
own_files   JSON Lines, COCO, Label Studio's export, tables of points
yolo        YOLO pose
counting    PixMo-Points, PixMo-Count, CountBenchQA, TallyQA
free_space  Point-Bench, Where2Place, RefSpatial-Bench, RoboSpatial-Home
screens     ScreenSpot, ScreenSpot-v2, ScreenSpot-Pro
table       all of them
"""
