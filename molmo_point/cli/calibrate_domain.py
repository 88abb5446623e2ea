"""The domain of `molmo-point calibrate-scores`: which images the calibration holds for."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molmo_point.atomic_write import write_atomic
from molmo_point.cli.progress import bar
from molmo_point.errors import UsageError
from molmo_point.wording import counted

if TYPE_CHECKING:
    from molmo_point.engine.score_calibration import Calibration
    from molmo_point.evaluate.fit_domain import DomainQuality
    from molmo_point.examples import Example
    from molmo_point.pointer import Pointer

Foreign = Annotated[
    Path | None,
    typer.Option(
        help="Folder of images that the model is not for (photographs, for nano): fits the domain, which tells them from "
        "the model's own images."
    ),
]
DomainOnly = Annotated[
    bool,
    typer.Option(
        "--domain-only",
        help="With --foreign: keep the rest of the calibration that is beside the model's weights.",
    ),
]
MeasureDomain = Annotated[
    bool,
    typer.Option(
        "--measure-domain",
        help="With --foreign: fit nothing, and measure the domain that is beside the model's weights on all images of the "
        "folder, which should be others than those it was fitted on, and on own ones that no fit uses.",
    ),
]
Halves = tuple[dict[str, Iterable["Example"]], dict[str, Iterable["Example"]]]
"""Examples to fit on and to measure on, by test set; no image is in both."""


def with_domain(
    calibration: Calibration,
    pointer: Pointer,
    own: Halves,
    folder: Path,
    questions: int,
) -> Calibration:
    """Return the calibration with a domain fitted to one half of the images; print how well it does on the other.

    Args:
        own: Examples of the calibration's images, by test set, of each half.
        folder: Of foreign images.
        questions: About each of them.

    Raises:
        UsageError: Too few images, or the model is not in this process.
    """
    from molmo_point.engine.local import LocalPointer
    from molmo_point.evaluate.domain_samples import collect_domain
    from molmo_point.evaluate.fit_domain import fit_domain, measure_domain

    if not isinstance(pointer, LocalPointer):
        raise UsageError("a domain is fitted to a model in this process")
    files = foreign_files(folder)
    sys.stderr.write(f"{counted(len(files), 'foreign image')}, every other one to fit on\n")
    halves = []
    with bar() as shown:
        for index, name in enumerate(("domain, images to fit on", "domain, others")):
            task = shown.add_task(name, total=None)
            halves.append(
                collect_domain(
                    pointer,
                    chain.from_iterable(own[index].values()),
                    files[index::2],
                    questions,
                    partial(shown.advance, task),
                )
            )
    domain = fit_domain(halves[0], f"every other one of {counted(len(files), 'image')}")
    fitted = calibration.model_copy(update={"domain": domain})
    typer.echo(_table(measure_domain(fitted, halves[1]), "the other half"))
    return fitted


def write_domain(model: str, own: Halves, foreign: Path | None, questions: int, out: Path) -> None:
    """Write the calibration beside a model's weights with a new domain.

    Raises:
        UsageError: There is no --foreign, or the model has no calibration.
    """
    from molmo_point.api import load
    from molmo_point.checkpoints.hub import resolve
    from molmo_point.engine.score_calibration import FILE, VERSION, read_calibration

    if foreign is None:
        raise UsageError("--domain-only needs --foreign, a folder of images the model is not for")
    pointer = load(model, calibrated=False)
    folder = resolve(model)
    width = pointer.network.config.decoder.d_model
    calibration = read_calibration(folder, width)
    if calibration is None:
        raise UsageError(f"{folder} has no {FILE}: leave --domain-only out to fit all of it")
    update = {"weights": digest(pointer), "version": VERSION}
    calibration = calibration.model_copy(update=update)
    calibration = with_domain(calibration, pointer, own, foreign, questions)
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / FILE, calibration.model_dump_json(indent=1) + "\n")
    typer.echo(f"written: {out / FILE}", err=True)


def measure_stored(
    model: str, own: dict[str, Iterable[Example]], foreign: Path | None, questions: int
) -> DomainQuality:
    """Print and return how well the domain beside a model's weights tells own from foreign images.

    Args:
        own: Examples of own images that it was not fitted on, by test set.
        foreign: Folder of foreign images that it was not fitted on.
        questions: About each of them.

    Raises:
        UsageError: There is no `foreign`, or no domain.
    """
    from molmo_point.api import load
    from molmo_point.checkpoints.hub import resolve
    from molmo_point.engine.local import LocalPointer
    from molmo_point.engine.score_calibration import FILE, read_calibration
    from molmo_point.evaluate.domain_samples import collect_domain
    from molmo_point.evaluate.fit_domain import measure_domain

    if foreign is None:
        raise UsageError(
            "--measure-domain needs --foreign, a folder of images it was not fitted on"
        )
    pointer = load(model, calibrated=False)
    if not isinstance(pointer, LocalPointer):
        raise UsageError("a domain is measured with a model in this process")
    folder = resolve(model)
    calibration = read_calibration(folder, pointer.network.config.decoder.d_model)
    if calibration is None or calibration.domain is None:
        raise UsageError(f"{folder} has no {FILE} with a domain: fit one without --measure-domain")
    files = foreign_files(foreign)
    with bar() as shown:
        task = shown.add_task("domain, images", total=None)
        images = chain.from_iterable(own.values())
        advance = partial(shown.advance, task)
        samples = collect_domain(pointer, images, files, questions, advance)
    quality = measure_domain(calibration, samples)
    typer.echo(_table(quality, f"{len(samples.own)} own and {len(files)} foreign images"))
    return quality


def digest(pointer: Pointer) -> str:
    """Return the digest of a model's weights; "" where it is not in this process."""
    from molmo_point.engine.local import LocalPointer
    from molmo_point.model.weights_digest import weights_digest

    return weights_digest(pointer.network) if isinstance(pointer, LocalPointer) else ""


def foreign_files(folder: Path) -> list[str]:
    """Return the images of a folder and its folders, sorted.

    Raises:
        UsageError: There are none.
    """
    from molmo_point.cli.inputs import collect_images

    found = collect_images([str(folder)], recursive=True)
    return sorted(str(image.source) for image in found.images)


def _table(quality: DomainQuality, measured_on: str) -> str:
    return "\n".join(
        [
            f"| domain, measured on {measured_on} | |",
            "|---|---|",
            f"| AUROC, own against foreign images | {quality.auroc:.4f} |",
            f"| own images that count as foreign | {quality.own_outside} |",
            f"| foreign images that count as foreign | {quality.foreign_outside} |",
            f"| questions about what a foreign image does not show, no point above 0.5 | {quality.silent} |",
            f"| the same without a domain | {quality.silent_before} |",
        ]
    )
