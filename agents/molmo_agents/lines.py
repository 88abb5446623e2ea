"""The line of Playwright that does what a verb did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Where it was done.

    Attributes:
        locator: The expression that finds the element again, or "" where none does.
        x: CSS px of the viewport.
        y: CSS px of the viewport.
    """

    locator: str
    x: float
    y: float

    def click(self, button: str = "left", count: int = 1) -> str:
        """A press."""
        told = [f"button={button!r}"] if button != "left" else []
        if self.locator:
            return f"{self.locator}.{'dblclick' if count == 2 else 'click'}({', '.join(told)})"
        told += [f"click_count={count}"] if count != 1 else []
        return f"page.mouse.click({', '.join([f'{self.x:.1f}', f'{self.y:.1f}', *told])})"

    def hover(self) -> str:
        """Resting the pointer on it."""
        if self.locator:
            return f"{self.locator}.hover()"
        return f"page.mouse.move({self.x:.1f}, {self.y:.1f})"

    def type(self, text: str, clear: bool, submit: bool) -> str:
        """Typing, `text` as it may be shown."""
        if self.locator:
            at = self.locator
            done = (
                f"{at}.fill({text!r})"
                if clear
                else f'{at}.press("Control+End"); {at}.press_sequentially({text!r})'
            )
            return done + (f'; {at}.press("Enter")' if submit else "")
        done = self.click()
        done += (
            '; page.keyboard.press("Control+A")'
            if clear
            else '; page.keyboard.press("Control+End")'
        )
        done += f"; page.keyboard.insert_text({text!r})"
        return done + ('; page.keyboard.press("Enter")' if submit else "")

    def value(self, text: str) -> str:
        """Setting a date, time, colour or range."""
        return f"{self.locator}.fill({text!r})" if self.locator else ""

    def select(self, options: Sequence[str]) -> str:
        """Choosing from a native list."""
        return f"{self.locator}.select_option({list(options)!r})" if self.locator else ""

    def check(self, on: bool) -> str:
        """Switching on or off."""
        return f"{self.locator}.set_checked({on})" if self.locator else self.click()

    def upload(self, files: Sequence[str]) -> str:
        """Giving files to a field."""
        return f"{self.locator}.set_input_files({list(files)!r})" if self.locator else ""
