"""The names under which the one model is asked for, with the answer dialect behind an @."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from molmo_point.arguments import check_texts
from molmo_point.errors import Busy, ModelNotFound
from molmo_point.service.http.dialects import Dialect, dialect_named
from molmo_point.service.http.dialects.table import MOLMO


@dataclass(frozen=True)
class ModelNames:
    """Which names are answered, and how.

    Attributes:
        strict: Answer only the model's own name and its aliases; else any name, since there is one model.
        aliases: Further names of the model.
        dialect: Of requests that name none.
    """

    strict: bool = False
    aliases: Sequence[str] = ()
    dialect: str = MOLMO

    def __post_init__(self) -> None:
        check_texts(self.aliases, "aliases")
        dialect_named(self.dialect)

    def check(self, asked: str, model: str) -> None:
        """Refuse a name that is not the model's.

        Raises:
            Busy: The model is not loaded yet.
            ModelNotFound: The name is another one, and names are strict.
        """
        if not model:
            raise Busy("the model is still loading")
        if self.strict and asked not in (model, *self.aliases):
            raise ModelNotFound(f"there is no model {asked[:80]!r} here, there is {model!r}")

    def dialect_of(self, asked: str, model: str) -> Dialect | None:
        """Return the dialect that a request's model names; None for the model's own text.

        Raises:
            UsageError: There is no such dialect.
            Busy, ModelNotFound: As `check`.
        """
        name, mark, dialect = asked.rpartition("@")
        if not mark or asked in (model, *self.aliases):
            name, dialect = asked, self.dialect
        self.check(name, model)
        return dialect_named(dialect)

    def listed(self, model: str) -> list[str]:
        """Return the names to be offered; none before the model is loaded."""
        return [model, *self.aliases] if model else []
