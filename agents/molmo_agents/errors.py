"""What can go wrong around a browser, beneath `molmo_point.errors.PointError`.

PointError
└── UsageError
    ├── BrowserMissing      no Chromium where it was looked for
    ├── PolicyError         a policy that cannot be meant: an origin with a path, a secret without a place
    ├── FlowError           a flow file with an unknown verb, a missing field or broken YAML
    └── PageUnusable        the caller handed over a page that is closed, or not Chromium's

What a *page* does is never an exception: it is an `Outcome` with a status. `PageGone` is how the inside says that the
page stopped answering; it becomes status `error` before it reaches a caller.
"""

from __future__ import annotations

from molmo_point.errors import PointError, UsageError


class BrowserMissing(UsageError):
    """No Chromium was found; the message says where it was looked for and how to install one."""

    kind = "browser_missing"


class PolicyError(UsageError):
    """A policy that contradicts itself or names something that cannot be matched."""

    kind = "policy"


class FlowError(UsageError):
    """A flow file that cannot be run; the message names the step and the known words."""

    kind = "flow"


class PageUnusable(UsageError):
    """The page cannot be driven at all: closed before it was handed over, or not Chromium."""

    kind = "page_unusable"


class PageGone(PointError):
    """The page closed, crashed or did not answer in time; callers see an `Outcome` with status `error`."""

    kind = "page_gone"
