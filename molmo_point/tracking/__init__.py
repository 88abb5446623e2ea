"""Points at the camera's rate from a model that answers a few times a second.

continuous     one continuous query: the asking thread, and points carried to every frame
camera_watch   one camera's publications, for the server and the command line
frame_sources  frames of cameras, streams and video files
tracked_point  a point with its identity, and where it is in a later frame
tracker        the points of one camera: identities, losses, answers about older frames
catch_up       an answer carried from its frame to the newest one
identity       which point of a new answer is which tracked point
frame_buffer   the frames that answers to come may be about
patches        patches as arrays: grid, weights, normalization, warps
flow           patches tracked from frame to frame, and detected when they no longer look like themselves
frame          one image at working size, with its pyramid
opencv         the import of OpenCV

Everything but `continuous` needs OpenCV (the extra "tracking").
"""
