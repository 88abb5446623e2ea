"""`molmo-calibrate`: boards, cameras, hand-eye, projection and checks on the command line.

Results go to stdout (`--json` for machines), messages and progress bars to stderr. Exit code 0: success;
1: failed, or the verdict is bad; 2: wrong arguments; 3: no point has a position.
"""

from __future__ import annotations

from typing import Annotated

import typer

from molmo_calibration.cli.calibrating import hand_eye, intrinsics, print_board
from molmo_calibration.cli.parts import talk, version
from molmo_calibration.cli.using import check, project
from molmo_calibration.errors import BrokenLibraryError, CalibrationError, MissingExtraError

app = typer.Typer(
    help="From pixels to metres: calibrate cameras and hand-eye transforms, and project points. Exit codes: "
    "0 success, 1 failed or a bad verdict, 2 wrong arguments, 3 no point has a position.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("board")(print_board)
app.command()(intrinsics)
app.command("hand-eye")(hand_eye)
app.command()(project)
app.command()(check)


@app.callback(invoke_without_command=True)
def common(
    context: typer.Context,
    show_version: Annotated[
        bool, typer.Option("--version", "-V", help="print the version")
    ] = False,
) -> None:
    """Options of the program itself."""
    if show_version:
        typer.echo(f"molmo-calibrate {version()}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


def main() -> None:
    """Run the command line; the user's mistakes are one sentence and exit code 2."""
    try:
        app()
    except (CalibrationError, MissingExtraError, BrokenLibraryError, OSError) as error:
        talk.print(f"molmo-calibrate: {error}", style="red")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
