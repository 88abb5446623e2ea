"""An image with a pointing drawn on it: `molmo_point.draw(image, pointing)`.

drawing     the whole: ellipses below, then lines, markers, labels and the count
marks, heat, badge   what is drawn: markers with labels and ellipses; a map of probabilities; the panel in a corner
layout      where labels go, as pure geometry
style, colours, shapes   sizes from one unit, a colour for each label, smooth shapes
lettering, font_files    text in any script, and the fonts of this machine
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from molmo_point.draw.drawing import PALETTE, draw
from molmo_point.draw.lettering import Font

__all__ = ["PALETTE", "Font", "draw"]


class _CallableModule(ModuleType):
    """Lets `molmo_point.draw(...)` work however this module was imported.

    Python binds a submodule to its name in the package, over the function of the same name that the package offers.
    """

    def __call__(self, *args: Any, **options: Any) -> Any:
        return draw(*args, **options)


sys.modules[__name__].__class__ = _CallableModule
