"""`Record`: the base of the models that are written to files and read back."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Values that do not change; a field that is not declared is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
