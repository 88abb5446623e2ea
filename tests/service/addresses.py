"""Where a running service of a test is reached."""

from __future__ import annotations

import pytest

from molmo_point.service.run import Service


def address(service: Service, transport: str) -> str:
    """Return what `connect` takes to reach a service over "zmq" or "http"; skips the test where that needs a missing extra."""
    if transport == "http":
        pytest.importorskip("httpx", reason="the extra 'client' is not installed")
    door = service.http if transport == "http" else service.zmq
    assert door is not None, f"the service was started without {transport}"
    return door.url if transport == "http" else door.address
