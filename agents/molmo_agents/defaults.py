"""How long web agents wait for what, seconds. What suits one page and not another is in `session.Options`."""

from __future__ import annotations

ANSWER_TIMEOUT_S = 15.0
"""One question to the page; a page in an endless loop never answers."""

ROUTED_ANSWER_TIMEOUT_S = 600.0
"""The same while the page itself waits for an answer of ours, such as a dialog that a person is asked about."""

TYPING_TIMEOUT_S = 30.0
"""One letter typed into a field whose handlers may be slow."""

DETACH_TIMEOUT_S = 2.0
"""Detaching from a target that may be gone already."""

CLOSE_TIMEOUT_S = 5.0
"""Closing a window or cancelling a download that the policy does not allow."""

LAUNCH_TIMEOUT_S = 60.0
"""Starting a browser."""

CDP_CONNECT_TIMEOUT_S = 20.0
"""Connecting to a browser that somebody else started."""

RELAY_TIMEOUT_S = 30.0
"""Each step of a connection through the relay: being asked for it, dialling, the first answer of a proxy behind it."""

REACH_TIMEOUT_S = 5.0
"""Each step of finding out which relay the browser uses."""

PROGRAM_TIMEOUT_S = 20.0
"""A program that `doctor` asks for its version, and the page of its one click."""

GOTO_TIMEOUT_S = 30.0
"""An address to open, or to go back to."""

WAIT_FOR_TIMEOUT_S = 10.0
"""What `wait_for` looks for to appear."""

EXPECT_TIMEOUT_S = 5.0
"""What an action is expected to lead to."""

FRAMES_TIMEOUT_S = 2.0
"""Two animation frames after a gesture; a page that is going away draws none."""

DOWNLOAD_TIMEOUT_S = 1.0
"""Waiting for the event of a download, which the browser reports apart from the page's requests."""

LIST_GROWS_TIMEOUT_S = 2.5
"""Waiting for an endless list to load more at its end."""

SECOND_READING_S = 0.4
"""A field is read once more after this time: many pages check an input when no further key follows."""

KEY_SETTLES_S = 0.1
"""Time after which the immediate effects of a key are complete."""

MCP_IDLE_S = 1800.0
"""Time without a call after which the browser of an MCP client is closed."""
