"""ROS 2 messages as Cyclone DDS topic types.

Cyclone's Python package builds a type from annotated fields and then serializes field by field, which takes 80 ms for a 640x480
image. Here the fields only describe the type; the bytes are made by rosbags' CDR, which copies an image as one block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from molmo_point.install import import_failure
from molmo_robot.dds.types import RosTypes

if TYPE_CHECKING:
    from cyclonedds.idl import IdlStruct


def require_cyclonedds() -> None:
    """Check that Cyclone DDS is there.

    Raises:
        MissingExtra: It is not.
    """
    try:
        import cyclonedds  # noqa: F401
    except ImportError as error:
        raise import_failure(error, "cyclonedds", "dds", "talking DDS") from error


class WireTypes:
    """Topic types for messages, made once for each message type.

    A sample of such a type has one attribute, `message`: the rosbags dataclass.
    """

    def __init__(self, types: RosTypes) -> None:
        require_cyclonedds()
        self._types = types
        self._described: dict[str, type[IdlStruct]] = {}
        self._wrapped: dict[str, type] = {}

    def of(self, type_name: str) -> type:
        """Return the topic type of `package/msg/Name`; instances are made with `(message,)`.

        Raises:
            UsageError: Unknown message type.
        """
        if type_name not in self._wrapped:
            self._wrapped[type_name] = self._wrap(type_name)
        return self._wrapped[type_name]

    def _wrap(self, type_name: str) -> type:
        types = self._types

        def __init__(self: Any, message: object) -> None:
            self.message = message

        def serialize(self: Any, *_: object, **__: object) -> bytes:
            return types.to_cdr(self.message, type_name)

        def deserialize(cls: type[Any], data: bytes, *_: Any, **__: Any) -> Any:
            return cls(types.from_cdr(data, type_name))

        def deserialize_key(cls: type[Any], data: bytes, *_: Any, **__: Any) -> Any:
            # ROS 2 types have no key: a sample without data means that a writer left.
            return cls(None)

        described = self._describe(type_name)
        # Set on the described class itself: a subclass would be another type to Cyclone's IDL machinery.
        for name, member in (
            ("__init__", __init__),
            ("serialize", serialize),
            ("deserialize", classmethod(deserialize)),
            ("deserialize_key", classmethod(deserialize_key)),
        ):
            setattr(described, name, member)
        return described

    def _describe(self, type_name: str) -> type[IdlStruct]:
        from cyclonedds.idl import make_idl_struct
        from cyclonedds.idl.annotations import final

        if type_name not in self._described:
            fields = {
                name: self._field(description)
                for name, description in self._types.definition(type_name)
            }
            package, kind, name = type_name.split("/")
            struct = make_idl_struct(
                name + "_", f"{package}::{kind}::dds_::{name}_", fields, dataclassify=False
            )
            self._described[type_name] = final(struct)
        return self._described[type_name]

    def _field(self, description: Any) -> Any:
        from cyclonedds.idl import types
        from rosbags.interfaces import Nodetype

        idl: Any = types
        kind, detail = description
        if kind == Nodetype.NAME:
            return self._describe(detail)
        if kind == Nodetype.BASE:
            name, limit = detail
            if name == "string":
                return idl.bounded_str[limit] if limit else str
            return {"bool": bool, "byte": idl.uint8, "char": idl.uint8}.get(name) or getattr(
                idl, name
            )
        element, size = detail
        if kind == Nodetype.ARRAY:
            return idl.array[self._field(element), size]
        return (
            idl.sequence[self._field(element), size]
            if size
            else idl.sequence[self._field(element)]
        )
