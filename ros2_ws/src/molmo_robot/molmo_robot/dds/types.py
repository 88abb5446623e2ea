"""`RosTypes`: ROS 2 message definitions without ROS, as dataclasses, with their CDR bytes and type hashes.

Definitions are rosbags'; those it lacks (ours, vision_msgs, foxglove_msgs) lie in `interfaces/`. The texts of `molmo_point_msgs`
there are copies of `ros2_ws/src/molmo_point_msgs`, and a test keeps them equal.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from molmo_point.errors import UsageError
from molmo_point.install import import_failure
from molmo_robot.ros_types import Message

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

INTERFACES = Path(__file__).parent / "interfaces"

DISTROS = ("humble", "jazzy", "kilted", "lyrical")
"""Distributions whose definitions rosbags carries and that we know the graph's messages of."""


class RosTypes:
    """Messages of one ROS 2 distribution, with ours added.

    Args:
        distro: One of `DISTROS`.

    Raises:
        MissingExtra: rosbags is not installed.
        UsageError: Another distribution.
    """

    def __init__(self, distro: str = "jazzy") -> None:
        if distro not in DISTROS:
            raise UsageError(
                f"expected a distribution out of {', '.join(DISTROS)}, got {distro!r}"
            )
        self.distro = distro
        self.store = new_store(distro)
        self._plans: dict[str, dict[str, str | None]] = {}

    def make(self, type_name: str, **fields: object) -> Message:
        """Build a message: every field by name; numbers in sequences may be any array."""
        plan = self._plans.get(type_name) or self._plan(type_name)
        # Definitions grew over the distributions; a field this one does not have is left out.
        values = {
            name: value if plan[name] is None else np.ascontiguousarray(value, plan[name])
            for name, value in fields.items()
            if name in plan
        }
        message_class: Any = self.store.types[type_name]
        return message_class(**values)

    def _plan(self, type_name: str) -> dict[str, str | None]:
        """{field: numpy type of its numbers, or None}, worked out once for each message type."""
        plan = {name: _dtype(description) for name, description in self.definition(type_name)}
        self._plans[type_name] = plan
        return plan

    def definition(self, type_name: str) -> list[tuple[str, Any]]:
        """Return [(field name, description)] as rosbags parsed it.

        Raises:
            UsageError: Unknown message type.
        """
        if type_name not in self.store.fielddefs:
            raise UsageError(
                f"expected a message type that {self.distro} knows, got {type_name!r}: "
                "is it spelled package/msg/Name?"
            )
        return list(self.store.fielddefs[type_name][1])

    def to_cdr(self, message: Message, type_name: str) -> bytes:
        """Serialize to CDR with its four byte header; the inverse of `from_cdr`."""
        return bytes(self.store.serialize_cdr(message, type_name))

    def from_cdr(self, data: bytes | memoryview, type_name: str) -> Any:
        """Deserialize CDR with its four byte header; arrays share memory with `data`.

        Raises:
            UsageError: The bytes are not such a message.
        """
        from rosbags.serde import SerdeError

        self.definition(type_name)
        try:
            return self.store.deserialize_cdr(data, type_name)
        except (SerdeError, ValueError, IndexError) as error:
            raise UsageError(
                f"expected the bytes of a {type_name}, got {len(data)} others: {error}"
            ) from error

    def hash(self, type_name: str) -> str:
        """Return the RIHS01 type hash that ROS 2 (Iron and later) announces for the type."""
        self.definition(type_name)
        return self.store.hash_rihs01(type_name)


def new_store(distro: str) -> Typestore:
    """Make a rosbags type store of a distribution with the definitions of `interfaces/` registered.

    Raises:
        MissingExtra: rosbags is not installed.
    """
    try:
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise import_failure(
            error, "rosbags", "bag", "reading and writing ROS 2 messages"
        ) from error
    store = get_typestore(Stores(f"ros2_{distro}"))
    _announce_gids_as_bytes(store, 24 if distro == "humble" else 16)
    store.register({name: d for name, d in _definitions().items() if name not in store.fielddefs})
    return store


@lru_cache(maxsize=1)
def _definitions() -> dict[str, Any]:
    from rosbags.typesys import get_types_from_msg

    found: dict[str, Any] = {}
    for path in sorted(INTERFACES.glob("*/msg/*.msg")):
        name = f"{path.parent.parent.name}/msg/{path.stem}"
        found.update(get_types_from_msg(path.read_text(encoding="utf-8"), name))
    return found


def _announce_gids_as_bytes(store: Typestore, size: int) -> None:
    """Define the graph's identifiers as rosidl does: `char` in a .msg is a byte on the wire and in the type hash."""
    from rosbags.interfaces import Nodetype

    field: Any = ("data", (Nodetype.ARRAY, ((Nodetype.BASE, ("uint8", 0)), size)))
    store.fielddefs["rmw_dds_common/msg/Gid"] = ([], [field])


def _dtype(description: Any) -> str | None:
    """Numpy type of a sequence or array of numbers; None for everything else."""
    from rosbags.interfaces import Nodetype

    kind, inner = description
    if kind not in (Nodetype.ARRAY, Nodetype.SEQUENCE):
        return None
    (element_kind, element), _ = inner
    if element_kind != Nodetype.BASE or element[0] == "string":
        return None
    return {"byte": "uint8", "char": "uint8", "bool": "bool"}.get(element[0], str(element[0]))
