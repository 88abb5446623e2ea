"""Help texts: shown as they are written, complete, true; and what a command lacks is said before it runs."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from molmo_point import __version__
from molmo_point.cli import app, doctor_checks
from molmo_point.cli.app import COMMANDS, Command, build, command
from molmo_point.install import install_line

if TYPE_CHECKING:
    from tests.cli.conftest import Run, Stage


def tree(part: Any, words: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every command, by the words that call it."""
    found = {words: part}
    for name, inner in getattr(part, "commands", {}).items():
        found |= tree(inner, (*words, name))
    return found


def plain_tree() -> dict[tuple[str, ...], Any]:
    """The same before anything is escaped."""
    import typer

    return tree(typer.main.get_command(build()))


def test_every_help_text_is_shown_whole(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich would take [words] for markup and leave them out."""
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("TERMINAL_WIDTH", "400")
    for words, part in plain_tree().items():
        shown = " ".join(re.sub(r"[│╭╮╰╯─]", " ", run(*words, "--help").out).split())
        for text in [part.help, *(getattr(one, "help", None) for one in part.params)]:
            for bracketed in re.findall(r"\[[^\]]*\]+", text or ""):
                assert " ".join(bracketed.split()) in shown, (words, bracketed)
        for one in part.params:
            if one.param_type_name == "option" and not one.hidden:
                assert one.opts[0] in shown, (words, one.opts)


def test_the_format_of_questions_survives(run: Run) -> None:
    shown = " ".join(re.sub("│", " ", run("calibrate-scores", "--help").out).split())
    assert '"boxes": [[left, top, right, bottom], ...]' in shown


def test_exit_codes_and_examples_are_in_the_help(run: Run) -> None:
    for words in ((), ("point",), ("count",), ("ask",)):
        shown = " ".join(run(*words, "--help").out.split())
        assert "3 nothing there" in shown
        assert "molmo-point point" in shown or "molmo-point count" in shown or "ask" in shown
    assert "{IMAGE" not in run("point", "--help").out
    assert "IMAGE... QUERY" in run("point", "--help").out


def test_versions(run: Run) -> None:
    for words in (("--version",), ("-V",), ("version",)):
        assert run(*words) == (0, f"{__version__}\n", "")


def test_options_have_one_meaning() -> None:
    """The same letter or word is the same thing everywhere."""
    meanings = {
        "-m": "--model",
        "-o": "--out",
        "-q": "--quiet",
        "-r": "--recursive",
        "-h": "--help",
    }
    for words, part in plain_tree().items():
        for one in part.params:
            for short, long in meanings.items():
                if short in one.opts:
                    assert long in one.opts, (words, one.opts)


def test_flags_that_messages_name_exist() -> None:
    """Of all commands, in every advice of the sources: `--http-port` was one that did not."""
    flags = {
        opt
        for part in plain_tree().values()
        for one in part.params
        for opt in (*one.opts, *one.secondary_opts)
    }
    flags |= {"--debug", "--help"}
    foreign = {"--upgrade", "--no-sandbox", "--headless", "--no-build-isolation"}
    folder = Path(app.__file__).parents[1]
    sources = [*folder.glob("cli/*.py"), folder / "api.py", *folder.glob("service/*.py")]
    named = {
        (path.name, flag)
        for path in sources
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+[a-z]", path.read_text())
    }
    unknown = {(path, flag) for path, flag in named if flag not in flags | foreign}
    # Options of other programs of ours, each checked by its own tests.
    assert {
        (path, flag) for path, flag in unknown if path in ("doctor_checks.py", "doctor.py")
    } == set()
    assert not [
        one
        for one in unknown
        if one[0] in ("point.py", "images.py", "words.py", "opening.py", "asking.py")
    ]


def test_what_is_lacking_is_said(
    run: Run, stage: Stage, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.COMMANDS, "train", Command("train", ("violin",)))
    monkeypatch.setitem(app.COMMANDS, "bench", Command("engine", ("violin",)))
    monkeypatch.setitem(
        app.COMMANDS, "point", Command("engine", ("violin",), unless_connected=True)
    )
    for words in (("train",), ("bench", "compare")):
        ran = run(*words)
        assert (ran.code, ran.out) == (2, "")
        assert "needs the package 'violin'" in ran.err
        assert ran.err.count("\n") == 1
    assert install_line("train") in run("train").err
    assert "(needs the extra 'train', which is not installed)" in run("train", "--help").out
    assert "(--connect only)" in run("--help").out
    # A server does instead.
    assert run("point", photo, "mug", "--connect", "tcp://gpu:5555").code == 3


def test_every_command_says_what_it_needs_or_checks_itself() -> None:
    assert {name for name, own in COMMANDS.items() if not own.packages} == {
        "models",
        "doctor",
        "keys",
    }


def test_commands_of_other_packages_join_by_entry_points(run: Run) -> None:
    joined = {each.name: each for each in importlib.metadata.entry_points(group=app.ENTRY_POINTS)}
    assert {"bag", "bridge"} <= set(joined)
    assert joined["bridge"].extras == ["dds"]
    text = run("--help").out
    assert " bag " in text
    assert " bridge " in text


def test_a_late_import_that_fails_is_one_line(
    run: Run, stage: Stage, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'violin'", name="violin")

    monkeypatch.setattr("molmo_point.api.load", load)
    ran = run("point", photo, "mug")
    assert ran.code == 2
    assert "needs the package 'violin'" in ran.err

    def broken(*_: object, **__: object) -> None:
        raise ImportError("cannot import name 'x'", name="molmo_point.api")

    monkeypatch.setattr("molmo_point.api.load", broken)
    from molmo_point import cli

    with pytest.raises(ImportError):
        cli.main(["point", str(photo), "mug"])


BROKEN = {
    "safetensors": "raise ImportError('libfoo.so.1: cannot open shared object file')",
    "torch": "raise OSError('libcudart.so.12: cannot open shared object file')",
    "numpy": "raise ValueError('numpy.dtype size changed, may indicate binary incompatibility')",
    "tokenizers": "import os; os.nothing_of_that_name",
}


@pytest.mark.parametrize("package", BROKEN)
def test_a_package_that_breaks_on_import_is_one_line(
    photo: Path, tmp_path: Path, package: str
) -> None:
    (tmp_path / f"{package}.py").write_text(BROKEN[package])
    line = [sys.executable, "-m", "molmo_point", "point", str(photo), "mug"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ran = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 2
    assert f"needs the package '{package}', which is installed but cannot be loaded" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


LIGHT = """
import sys
for name in ("torch", "safetensors", "tokenizers", "cv2", "fastapi", "uvicorn", "matplotlib", "huggingface_hub"):
    sys.modules[name] = None
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if sys.modules.get(name, 0) is None else find(name, *rest)
from molmo_point.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["models"], 0),
        (["doctor"], 0),
        (["point", "--help"], 0),
        (["train", "--help"], 0),
        (["train"], 2),
        (["eval"], 2),
        (["verify", "x"], 2),
        (["serve"], 2),
        (["demo"], 2),
    ],
)
def test_a_base_install(words: list[str], code: int, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", LIGHT, *words],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert ran.returncode == code, ran.stderr
    assert "Traceback" not in ran.stderr
    if code:
        assert ran.stderr.count("\n") == 1
    if words == ["doctor"]:
        assert "missing" in ran.stdout
        assert "failed" not in ran.stdout


def test_python_m() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "molmo_point", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.stdout == f"{__version__}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("words", ["models", "--version", "--help", "models --json"])
@pytest.mark.parametrize("where", ["> /dev/full", ">&-"])
def test_output_that_gets_lost_is_a_failure(words: str, where: str) -> None:
    line = f"{sys.executable} -m molmo_point {words} {where}"
    ran = subprocess.run(line, shell=True, stderr=subprocess.PIPE, text=True, timeout=60)
    assert ran.returncode == 1
    assert ran.stderr.startswith("molmo-point: the result could not be written to stdout")
    assert ran.stderr.count("\n") == 1


def test_a_reader_that_leaves_is_no_failure() -> None:
    line = f"{sys.executable} -m molmo_point models --json | head -c 1"
    ran = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60)
    assert ran.stderr == ""


def test_ports_that_are_taken_come_with_flags_that_exist() -> None:
    serve = plain_tree()["serve",]
    flags = {opt for one in serve.params for opt in one.opts}
    for advice in doctor_checks.ADVICE.values():
        (flag,) = re.findall(r"serve (--[a-z-]+)", advice)
        assert flag in flags


def test_the_tree_is_the_same_after_escaping() -> None:
    assert tree(command()).keys() == plain_tree().keys()


def test_the_command_reference_is_up_to_date() -> None:
    from molmo_point.cli.reference import MARK, PAGE, reference

    if not PAGE.is_file():
        pytest.skip("no source tree")
    version = tuple(int(part) for part in importlib.metadata.version("typer").split(".")[:2])
    if version < (0, 29):
        pytest.skip(
            f"the page is made with a newer typer than {version}: older ones keep less of the texts"
        )
    written = PAGE.read_text(encoding="utf-8").partition(MARK)[2].strip()
    assert written == reference().strip(), "run: python -m molmo_point.cli.reference"
