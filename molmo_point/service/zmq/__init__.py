"""ZeroMQ: the socket, who reads it, and CURVE keys."""
