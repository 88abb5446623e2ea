"""Ports, limits and timeouts of clients, commands and servers: each is said once, here."""

from __future__ import annotations

ZMQ_PORT = 5555
HTTP_PORT = 8000
REVIEW_PORT = 8010

ZMQ_ADDRESS = f"tcp://127.0.0.1:{ZMQ_PORT}"
"""Where a server answers over ZeroMQ, and a robot asks."""

PUBLISH_ADDRESS = f"tcp://127.0.0.1:{ZMQ_PORT + 1}"
"""Where a server publishes: the port after that for questions."""

HTTP_HOST = "127.0.0.1"

HTTP_ADDRESS = f"{HTTP_HOST}:{HTTP_PORT}"
"""Where a server answers over HTTP and shows the web page."""

OPENAI = "openai+"
"""Before the scheme of a server of another engine, which speaks OpenAI's chat completions: openai+http://gpu:8000/v1."""

MAX_QUERY_CHARACTERS = 4000
"""Longest query, at every door: the model's 4096 positions hold the image, the query and the answer."""

MAX_QUERIES = 16
"""Most queries of one request, at every door: twice the rows of a batch."""

MAX_IMAGES = 12
"""Most images that one request asks about together: more cameras than a robot has. Each may become nine crops of 1.7 MB."""

MAX_FRAMES = 128
"""Most frames of a video in one request, a minute at 2 a second. Each becomes a crop of 1.7 MB."""

MAX_CROPS = 1000
"""Largest `detail` of a request; no model has that many crops."""

MAX_TOKENS = 1_000_000
"""Largest limit of an answer's tokens that a request may name: clients send any large number for "no limit"."""

MAX_TIMEOUT_S = 86_400.0
"""Longest timeout of one request that a server accepts, over ZeroMQ and HTTP; a client asks for no more."""

UNLIMITED_TIMEOUT_S = 3600.0
"""What a client asks for where its caller sets no limit: older servers accept no more over HTTP."""

MIN_TIMEOUT_S = 0.001
"""What a client asks for where its caller gives 0: servers want more than 0."""

CALL_TIMEOUT_S = 30.0
"""Timeout of a client's call that brings none of its own."""

CONNECT_TIMEOUT_S = 5.0
"""How long a new client waits for the server's first reply."""

SILENCE_TIMEOUT_S = 10.0
"""After this long without a sign of the server, a call raises `ServerGone`; a server takes less to restart on most machines.

One that has said that it stops is waited for as long as the call has time."""

SHUTDOWN_GRACE_S = 5.0
"""How long a server that is told to stop goes on with running questions, and waits for each of its threads."""

STREAM_GRACE_S = 1.0
"""How long after its deadline a stream may go on to end by itself; one decoder pass of a large model takes a tenth of that."""

OVERDUE_S = 5.0
"""How long after its deadline the model may go on with a question: a pass of a large model on a CPU takes seconds."""

HTTP_GRACE_S = 5.0
"""How much longer than its deadline an answer over HTTP is waited for: a model in the middle of a pass finishes it first."""

WATCH_GRACE_S = 1.0
"""The same for the questions of a server's own watches."""

WATCH_STOP_S = 8.0
"""How long the threads of one watched camera may take to end: a running question is failed by the server's own stop."""

LINGER_S = 0.2
"""How long the last replies over ZeroMQ may take to leave when the server stops."""

WATCH_TIMEOUT_S = 10.0
"""Timeout of one question of continuous pointing."""
