"""The server: one worker owns the model; transports submit requests to one dispatcher.

settings · job · request_queue · turns · reply_cache · views     what waits, whose turn it is, what is remembered; no sockets
decoding · file_structure                                        images, decoded and cut before their turn
worker · continuous_batching · sequential · housekeeping         the model's thread, and the one beside it
fan_out                                                          several queries of one image, each a job of its own
own_pointer · serving                                            a user's own Pointer behind the server (`molmo_point.serve`)
dispatcher · cameras · camera_watches · in_process               where every transport submits; who publishes under a name
metrics · log_limit · bind_check                                 counters, bounded log lines, addresses that may be bound
http/ · zmq/                                                     the transports
mcp_tools/                                                       point, count and ask for MCP hosts, over a Pointer
run                                                              all of it together
"""
