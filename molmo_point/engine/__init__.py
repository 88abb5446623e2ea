"""Runs a Molmo: pictures and prompts in, text and points out. Knows nothing of sockets, cameras or browsers.

picture    crops through the tower and the image tokens through the decoder, kept for many questions
generate   prompt -> tokens, greedily, one or several tokens a pass
answer     tokens -> text -> points, while they come
local      `LocalPointer`: all of it behind the `Pointer` interface
verify     golden folders recomputed
"""
