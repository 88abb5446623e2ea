"""How long web agents wait for what, seconds. What suits one page and not another is in `session.Options`."""

from __future__ import annotations

ANSWER_TIMEOUT_S = 15.0
"""One question to the page; a page in an endless loop never answers."""

ROUTED_ANSWER_TIMEOUT_S = 600.0
"""The same while the page itself waits for an answer of ours, such as a dialog that a person is asked about."""

TYPING_TIMEOUT_S = 30.0
"""One letter typed into a field whose handlers may be slow."""

DETACH_TIMEOUT_S = 2.0
"""Letting go of a target that may be gone already."""

CLOSE_TIMEOUT_S = 5.0
"""Closing a window or cancelling a download that the policy does not allow."""

LAUNCH_TIMEOUT_S = 60.0
"""Starting a browser."""

CDP_CONNECT_TIMEOUT_S = 20.0
"""Connecting to a browser that somebody else started."""

RELAY_TIMEOUT_S = 30.0
"""Each step of a connection through the relay: being asked for it, dialling, the first answer of a proxy behind it."""

REACH_TIMEOUT_S = 5.0
"""Each step of the browser's saying which relay it goes through."""

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
"""The news of a download: the browser tells it apart from the page's requests."""

LIST_GROWS_TIMEOUT_S = 2.5
"""An endless list that may grow once its end is reached."""

SECOND_READING_S = 0.4
"""After so long a field is read once more: pages that check what was put in often do so when nothing more comes."""

KEY_SETTLES_S = 0.1
"""After so long the page has done what a key makes it do at once."""

MCP_IDLE_S = 1800.0
"""After so long without a call the browser of an MCP client is closed."""
