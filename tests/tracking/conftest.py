"""Servers of a test's own: the fixtures of tests/service."""

from __future__ import annotations

from tests.service.conftest import gate, image, start

__all__ = ["gate", "image", "start"]
