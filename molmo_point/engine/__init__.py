"""Runs a Molmo: images and questions in, points and text out. Knows nothing of sockets, cameras or browsers.

question          what is asked, with its arguments checked
image_prefix      an image -> keys and values of its tokens, reused by every question about the image
drafting          guesses the next tokens from the grammar of points; draft_tree joins alternatives
generate, batch   prompt -> tokens, greedily, for one answer or for many side by side
answer            tokens -> text -> points, each as soon as its markup is complete
uncertainty       token probabilities -> score, covariance, absence probability
engine            one checkpoint with its caches: prepares questions and decodes answers
scheduler         continuous batching for a server's loop
local             `LocalPointer`: all of it behind the `Pointer` interface
verify            golden folders recomputed
"""
