"""What an entry of the verb table is: a function from a session to steps, and how flows and tools call it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Concatenate, Generic, Literal, ParamSpec, TypeVar, overload

from molmo_agents.drivers.steps import Steps
from molmo_agents.outcome import Outcome
from molmo_agents.session import Session
from molmo_agents.verbs.readers import Reader

P = ParamSpec("P")
R = TypeVar("R")

Subject = Literal["words", "address", "key", "nothing"]
"""What stands behind a verb in a flow: words for the model, an address, a key, or nothing."""


class Face(Generic[R]):
    """What verbs are methods of: a session, and how its steps are run. `R` is an `Outcome`, or an awaitable of one."""

    _session: Session

    def _run(self, steps: Steps[Outcome]) -> R:
        """Run the steps of one verb."""
        raise NotImplementedError


@dataclass(frozen=True)
class Field:
    """A word that a verb takes in a flow.

    Attributes:
        parameter: The parameter of the verb's function that it fills.
        read: Turns the value of the file into the argument, or raises `FlowError`.
        required: The verb is nothing without it.
        paths: The argument is a list of paths, relative to the flow's folder.
    """

    parameter: str
    read: Reader
    required: bool = False
    paths: bool = False


@dataclass(frozen=True)
class Verb(Generic[P]):
    """One verb. On a `WebPointer` it is a method with the parameters of `function` but the first.

    Attributes:
        function: From the session and the arguments to the steps; wrong arguments raise `UsageError` at once.
        read_only: It changes nothing on the page.
        subject: What stands behind it in a flow.
        fields: The words that it takes in a flow.
        either: Two fields of which exactly one is given.
    """

    function: Callable[Concatenate[Session, P], Steps[Outcome]]
    read_only: bool = False
    subject: Subject = "words"
    fields: Mapping[str, Field] = field(default_factory=dict)
    either: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "__doc__", self.function.__doc__)

    def __call__(self, face: Face[R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it on a face, as a method of its class is called."""
        return face._run(self.function(face._session, *args, **kwargs))

    @property
    def parameters(self) -> list[inspect.Parameter]:
        """The parameters that a caller gives."""
        return list(inspect.signature(self.function, eval_str=True).parameters.values())[1:]

    @overload
    def __get__(self, face: None, owner: object) -> Verb[P]: ...

    @overload
    def __get__(self, face: Face[R], owner: object) -> Callable[P, R]: ...

    def __get__(self, face: Face[R] | None, owner: object) -> Verb[P] | Callable[P, R]:
        if face is None:
            return self

        def method(*args: P.args, **kwargs: P.kwargs) -> R:
            return self(face, *args, **kwargs)

        method.__name__, method.__doc__ = self.function.__name__, self.function.__doc__
        method.__signature__ = inspect.Signature(self.parameters)  # type: ignore[attr-defined]
        return method
