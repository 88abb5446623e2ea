"""cua (`cua-agent`): a loop that clicks what a description says, and None where it is not there."""

from __future__ import annotations

import asyncio
from typing import Any

from molmo_point.errors import PointError
from molmo_point.install import import_failure
from molmo_point.pointer import Pointer
from molmo_point.points import Status

MODELS = r"(?i)^molmo-point(/.*)?$"
"""Model names that the loop answers to, such as "molmo-point/nano"."""


class MolmoPointConfig:
    """An agent configuration of cua that can click, and nothing else. A subclass has the pointer."""

    pointer: Pointer

    async def predict_step(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Refuse: a pointer plans nothing."""
        raise NotImplementedError(
            "molmo-point points and plans nothing: compose it with a planner, as in 'molmo-point/nano+anthropic/claude-...'"
        )

    async def predict_click(
        self, model: str, image_b64: str, instruction: str, **_: Any
    ) -> tuple[int, int] | None:
        """Return the pixel of the most certain point; None where the model says that there is nothing.

        Args:
            model: As it was named; not used.
            image_b64: The screenshot.
            instruction: What to click.

        Raises:
            PointError: The question failed, or its answer is cut or not readable: that is no absence.
        """
        data = f"data:image/png;base64,{image_b64}"
        pointing = await asyncio.to_thread(self.pointer.point, data, instruction)
        if not pointing.points and pointing.status is not Status.NOT_FOUND:
            raise PointError(
                f"the answer to {instruction!r} is {pointing.status}: {pointing.text[:200]!r}"
            )
        if not pointing.points:
            return None
        width, height = pointing.image_size
        x, y = max(pointing.points, key=lambda point: point.score or 0.0).pixel(width, height)
        # The pixel that the point lies in; its far edge belongs to the last one.
        return min(int(x), width - 1), min(int(y), height - 1)

    def get_capabilities(self) -> list[str]:
        """Return ["click"]."""
        return ["click"]


def register(pointer: Pointer, models: str = MODELS) -> type[MolmoPointConfig]:
    """Make cua's `ComputerAgent` use `pointer` for the models whose names match; return the loop's class.

    Raises:
        MissingExtra: cua-agent is not installed.
    """
    try:
        from cua_agent.decorators import (  # type: ignore[import-not-found, unused-ignore]
            register_agent,
        )
    except ImportError as error:
        raise import_failure(error, "cua_agent", "client", "The adapter for cua") from error
    loop = type("MolmoPointLoop", (MolmoPointConfig,), {"pointer": pointer})
    # Above cua's own loops, one of which takes any name.
    register_agent(models, priority=100)(loop)
    return loop
