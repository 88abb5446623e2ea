"""The server: one worker that owns the model, and the transports that bring it questions.

settings · job · line · turns · memory · views     what waits, whose turn it is, what is remembered; no sockets
decoding · file_structure                          large images, decoded before their turn
worker · joining · answering · housekeeping        the model's thread, and the one beside it
own_pointer · serving                              one's own Pointer behind the server (`molmo_point.serve`)
desk · cameras                                     the one door that every transport uses; who publishes under a name
zmq_server · shared_socket · keys                  ZeroMQ, with CURVE
http_* · multipart · fetch · log_limit             HTTP: our own endpoints, OpenAI's, Moondream's, the page
run                                                all of it together
"""
