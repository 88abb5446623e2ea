"""The server: one worker that owns the model, and the transports that bring it questions.

settings · job · line · memory · views · worker    a question's way to the model and back; no sockets
desk                                               the one door that every transport uses
zmq_server · shared_socket · keys                  ZeroMQ, with CURVE
http_*                                             HTTP: our own endpoints, OpenAI's, Moondream's, the page
run                                                all of it together
"""
