"""`make` for rclpy: message classes by their names, imported when they are first used."""

from __future__ import annotations

import array
import importlib
from functools import cache
from typing import Any

import numpy as np


@cache
def message_class(type_name: str) -> Any:
    """Return the class of `package/msg/Name`, `package/srv/Name` or `package/action/Name`.

    Raises:
        ModuleNotFoundError: The package is not in this workspace.
    """
    package, kind, name = type_name.split("/")
    return getattr(importlib.import_module(f"{package}.{kind}"), name)


@cache
def _field_types(type_name: str) -> dict[str, str]:
    return dict(message_class(type_name).get_fields_and_field_types())


def make(type_name: str, **fields: Any) -> Any:
    """Build a message of its fields; a field this distribution's message does not have is left out."""
    kinds = _field_types(type_name)
    known = {
        name: _converted(value, kinds[name]) for name, value in fields.items() if name in kinds
    }
    return message_class(type_name)(**known)


def _converted(value: Any, kind: str) -> Any:
    if kind == "sequence<uint8>" and isinstance(value, np.ndarray):
        # rclpy copies anything else element by element, which takes half a second for an image.
        return array.array("B", np.ascontiguousarray(value).tobytes())
    if kind == "octet" and isinstance(value, int):
        return bytes([value])
    if isinstance(value, np.ndarray) and not kind.startswith("sequence<"):
        return np.ascontiguousarray(value)
    return value.tolist() if isinstance(value, np.ndarray) else value


def quiet_about_qos() -> dict[str, Any]:
    """Options of a latched subscription, which many publishers do not match: no warning about those.

    rclpy would warn about every publisher that does not latch; the plain subscription of the same topic receives from it.
    """
    for module in ("rclpy.event_handler", "rclpy.qos_event"):  # Iron and later; Humble
        try:
            events = importlib.import_module(module)
        except ImportError:
            continue
        return {"event_callbacks": events.SubscriptionEventCallbacks(use_default_callbacks=False)}
    return {}
