"""Servers of a test's own, as in tests/service."""

from tests.service.conftest import start

__all__ = ["start"]
