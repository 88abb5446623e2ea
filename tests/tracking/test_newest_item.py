"""NewestItem: the newest item is taken once, none in between; a close ends the wait."""

from __future__ import annotations

import threading
import time

from molmo_point.tracking.newest_item import NewestItem


def test_a_later_item_replaces_the_one_that_waits() -> None:
    newest: NewestItem[int] = NewestItem()
    newest.put(1)
    newest.put(2)
    assert newest.take(5.0) == 2
    assert newest.take(0.0) is None


def test_an_item_that_comes_ends_the_wait() -> None:
    newest: NewestItem[int] = NewestItem()
    taken: list[int | None] = []
    thread = threading.Thread(target=lambda: taken.append(newest.take(30.0)))
    thread.start()
    newest.put(7)
    thread.join(10.0)
    assert taken == [7]


def test_a_close_ends_the_wait_and_drops_what_waits() -> None:
    newest: NewestItem[int] = NewestItem()
    taken: list[int | None] = []
    began = time.monotonic()
    thread = threading.Thread(target=lambda: taken.append(newest.take(30.0)))
    thread.start()
    newest.close()
    thread.join(10.0)
    assert taken == [None]
    assert time.monotonic() - began < 20.0
    newest.put(1)
    assert newest.take(5.0) is None
    assert newest.closed
