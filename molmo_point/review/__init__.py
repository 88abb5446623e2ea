"""Review of a counting run: a page on this machine to look at the points, correct and accept them, and export the result.

corrections  what people changed: one JSON line each, on disk before the page hears that it is saved
reviewed     the rows of a run with their corrections, and how far model and people agree
export       CSV, COCO keypoints, YOLO pose, Label Studio, FiftyOne
image        the image of a row as the page shows it
app          the HTTP application
serve        the server on loopback
page/        the web page
"""
