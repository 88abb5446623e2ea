"""molmo_agents: click what the model locates in a browser, and know that it was the right thing.

>>> from molmo_agents import Policy, WebPointer
>>> with WebPointer(page, molmo_point.load("nano")) as web:
...     outcome = web.click("the Sign in button")
>>> outcome.status, outcome.effects.navigated

Stands on the light half of molmo_point: any `Pointer` drives it, and torch is not needed.
"""

from __future__ import annotations

from molmo_agents.async_pointer import AsyncWebPointer
from molmo_agents.errors import BrowserMissing, FlowError, PageUnusable, PolicyError
from molmo_agents.journal import Journal
from molmo_agents.outcome import Dialog, Effects, Locator, Outcome, Status, Target
from molmo_agents.policy import Confirmation, Policy, Secret, allow_risks
from molmo_agents.screen import Box, Screenshot
from molmo_agents.session import Options
from molmo_agents.sync_pointer import WebPointer
from molmo_agents.verbs.expect import Expect

__all__ = [
    "AsyncWebPointer",
    "Box",
    "BrowserMissing",
    "Confirmation",
    "Dialog",
    "Effects",
    "Expect",
    "FlowError",
    "Journal",
    "Locator",
    "Options",
    "Outcome",
    "PageUnusable",
    "Policy",
    "PolicyError",
    "Screenshot",
    "Secret",
    "Status",
    "Target",
    "WebPointer",
    "allow_risks",
]
