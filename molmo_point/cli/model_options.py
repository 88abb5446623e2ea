"""The options that say which model answers, and the pointer they open."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from molmo_point.cli.progress import spinner
from molmo_point.defaults import HTTP_PORT, OPENAI, ZMQ_PORT
from molmo_point.errors import MissingExtra, ModelNotFound, UsageError

if TYPE_CHECKING:
    from molmo_point.pointer import Pointer

TYPED: ContextVar[frozenset[str] | None] = ContextVar("TYPED", default=None)
"""Names of the parameters that stand on the command line; None outside of a command, where every argument counts as given."""

Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", help="nano (default), a name of `molmo-point models`, a hub repository or a folder; with "
        "--connect openai+..., a name of that server.",
        rich_help_panel="Model",
    ),
]  # fmt: skip
Connect = Annotated[
    str | None,
    typer.Option(
        help=f"Ask a server instead: tcp://HOST:{ZMQ_PORT}, http://HOST:{HTTP_PORT}, or a model of another engine: "
        "openai+http://HOST:8000/v1.",
        envvar="MOLMO_POINT_SERVER",
        rich_help_panel="Model",
    ),
]
Key = Annotated[
    Path | None,
    typer.Option(
        help="Key file for a tcp:// server that encrypts.",
        envvar="MOLMO_POINT_KEY",
        rich_help_panel="Model",
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        help="Token for an http:// server that asks for one.",
        envvar="MOLMO_POINT_TOKEN",
        rich_help_panel="Model",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        help="auto (default: CUDA, then Apple's MPS, then CPU), cpu, cuda, cuda:1, mps.",
        rich_help_panel="Model",
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        help="auto (default: bfloat16 where the device computes in it; docs/models.md), float32, bfloat16, float16.",
        rich_help_panel="Model",
    ),
]
Quantize = Annotated[
    str | None,
    typer.Option(help="int8 or int4: a half or a quarter of the memory.", rich_help_panel="Model"),
]
DetailOption = Annotated[
    str | None,
    typer.Option(
        "--detail",
        help="How finely images are looked at: auto (default: as in training), low (the global crop alone: fastest, loses "
        "small things), or the largest number of crops.",
        rich_help_panel="Model",
    ),
]
AdapterOption = Annotated[
    Path | None,
    typer.Option(
        "--adapter",
        help="Folder of a LoRA adapter for the model, as molmo-point finetune or peft writes it.",
        rich_help_panel="Model",
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        help="Time limit for each query, in seconds; what is complete by then is returned and called "
        "truncated. Default: none for a model here.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No messages on stderr but errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line on stdout.")]


@dataclass(frozen=True)
class ModelSelection:
    """Which model answers; None leaves a choice to the library."""

    model: str | None = None
    connect: str | None = None
    key: Path | None = None
    token: str | None = None
    device: str | None = None
    dtype: str | None = None
    quantize: str | None = None
    detail: str | None = None
    adapter: Path | None = None

    def __post_init__(self) -> None:
        for field in ("model", "connect", "token", "device", "dtype", "quantize", "detail"):
            if getattr(self, field) == "":
                if _typed(field):
                    raise UsageError(f"--{field} is empty (a variable that is not set?)")
                object.__setattr__(self, field, None)
        here: dict[str, object] = {
            name: getattr(self, name)
            for name in ("model", "device", "dtype", "quantize", "adapter")
        }
        if (self.connect or "").lower().startswith(OPENAI):
            # Such a server may have several models.
            del here["model"]
        chosen = [f"--{name}" for name, value in here.items() if value is not None]
        if self.connect is not None and chosen:
            if _typed("connect"):
                raise UsageError(
                    f"--connect asks a server, which has its own model: leave {', '.join(chosen)} out"
                )
            # MOLMO_POINT_SERVER is a default, and what is typed overrides it.
            object.__setattr__(self, "connect", None)
        if self.connect is None:
            for name in ("key", "token"):
                if getattr(self, name) is not None and _typed(name):
                    raise UsageError(f"--{name} is for a server: give its address with --connect")
                object.__setattr__(self, name, None)

    def identity(self, name: str) -> list[str | None]:
        """Return what tells the opened model from others, for answers that are kept between runs.

        Args:
            name: What the pointer calls itself. A checkpoint that was trained on keeps its name, so its files count, too.
        """
        if self.connect is not None:
            return [self.connect, name, *self._detail_identity()]
        from molmo_point.checkpoints.folder import fingerprint
        from molmo_point.checkpoints.hub import resolve

        found = [name, fingerprint(resolve(self.model or "nano")), self.dtype, self.quantize]
        if self.adapter is not None:
            weights = sorted(path.name for path in self.adapter.glob("*.safetensors"))
            found.append(f"adapter {fingerprint(self.adapter, weights)}")
        return found + self._detail_identity()

    def load_options(self) -> dict[str, Any]:
        """Return the keyword arguments of `molmo_point.load`.

        Raises:
            UsageError: `detail` is neither a word nor a number.
        """
        adapter = {} if self.adapter is None else {"adapter": self.adapter}
        return {
            "device": self.device or "auto",
            "dtype": self.dtype or "auto",
            "quantize": self.quantize,
            **adapter,
            **detail_option(self.detail),
        }

    def _detail_identity(self) -> list[str | None]:
        return [] if self.detail in (None, "auto") else [f"detail {self.detail}"]


def detail_option(text: str | None) -> dict[str, Any]:
    """Return the option `detail` of `load` and `connect` that a user typed; nothing where he did not.

    Raises:
        UsageError: Neither a word nor a number.
    """
    from molmo_point.arguments import check_detail

    if text is None:
        return {}
    number = text.isascii() and text.isdigit()
    return {"detail": check_detail(int(text) if number else text)}


def _typed(name: str) -> bool:
    """Whether an option stands on the command line, and does not come from the environment."""
    typed = TYPED.get()
    return typed is None or name in typed


_OPTIONS: dict[str, Any] = {
    "model": Model,
    "connect": Connect,
    "key": Key,
    "token": Token,
    "device": Device,
    "dtype": Dtype,
    "quantize": Quantize,
    "detail": DetailOption,
    "adapter": AdapterOption,
}
"""The fields of `ModelSelection`, as options."""


def with_model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command for Typer whose keyword `where`, a `ModelSelection`, comes from the options --model to --detail."""

    @functools.wraps(command)
    def run(**given: Any) -> None:
        where = ModelSelection(**{name: given.pop(name) for name in _OPTIONS})
        command(**given, where=where)

    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    for own in inspect.signature(command).parameters.values():
        kept = own.replace(kind=own.KEYWORD_ONLY, annotation=hints[own.name])
        chosen = [
            kept.replace(name=name, default=None, annotation=option)
            for name, option in _OPTIONS.items()
        ]
        parameters += chosen if own.name == "where" else [kept]
    signature = inspect.Signature(parameters)
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    setattr(run, "__signature__", signature)  # noqa: B010 - functions have no such attribute for mypy
    return run


@contextmanager
def open_pointer(where: ModelSelection, *, quiet: bool) -> Iterator[Pointer]:
    """Load the model, or connect; close it at the end. A spinner on stderr shows that it is loading.

    Raises:
        PointError: What `molmo_point.api.load` and `connect` raise.
    """
    with spinner(_doing(where), quiet=quiet) if _is_here(where) else nullcontext():
        pointer = _connect(where) if where.connect is not None else _load(where)
    try:
        yield pointer
    finally:
        pointer.close()


def _doing(where: ModelSelection) -> str:
    return f"loading {where.model or 'nano'}" if where.connect is None else "connecting"


def _is_here(where: ModelSelection) -> bool:
    """Whether nothing has to be downloaded; a download shows bars of its own."""
    from molmo_point.checkpoints.catalog import find

    if where.connect is not None or where.model is None or Path(where.model).is_dir():
        return True
    entry = find(where.model)
    return entry is not None and entry.folder() is not None


def _load(where: ModelSelection) -> Pointer:
    from molmo_point import api

    _refuse_missing_folder(where.model or "nano")
    try:
        return api.load(where.model or "nano", **where.load_options())
    except MissingExtra as error:
        raise UsageError(f"{error}; or ask a server with --connect") from error


def _refuse_missing_folder(model: str) -> None:
    """Say that a folder is not there, instead of looking for it on the hub: a path in a folder that exists is no hub name.

    Raises:
        ModelNotFound: It is such a path.
    """
    from molmo_point.checkpoints.catalog import find

    path = Path(model)
    if find(model) is None and len(path.parts) > 1 and path.parent.is_dir() and not path.exists():
        raise ModelNotFound(
            f"there is no folder {model}: expected a checkpoint there (config.json, *.safetensors)"
        )


def _connect(where: ModelSelection) -> Pointer:
    from molmo_point import api

    url = where.connect or ""
    options: dict[str, object] = {**detail_option(where.detail)}
    for name, scheme in (("key", "tcp"), ("token", "http")):
        value = getattr(where, name)
        if value is None:
            continue
        if url.lower().removeprefix(OPENAI).startswith(scheme):
            options[name] = value
        elif _typed(name):
            raise UsageError(f"--{name} is for {scheme}:// servers, and --connect is {url}")
    if where.model is not None:
        options["model"] = where.model
    return api.connect(url, **options)
