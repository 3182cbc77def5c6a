"""Slips on the command line: what is misspelt is named, with the nearest word that is known."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_mtcnn.cli import COMMANDS, main
from edge_mtcnn.runtime import devices

SLIPS = [
    ("detect", ["--min-face-sise", "20"], "unknown option --min-face-sise; did you mean"),
    ("detect", ["--min-face-sise=20"], "did you mean '--min-face-size'?"),
    ("detect", ["photo.jpg", "-json"], "unknown option -json; did you mean '--json'?"),
    ("detect", ["--jsn", "-", "--bogus"], "did you mean '--json'?; unknown option --bogus"),
    ("detect", ["--preset", "kiosc"], "'kiosc'; did you mean 'kiosk'? (choose from default, "),
    ("detect", ["--crop-style", "aligne"], "did you mean 'aligned'?"),
    ("watch", ["--hepl"], "did you mean '--help'?"),
    ("watch", ["0", "--select", "largets"], "did you mean 'largest'?"),
    ("watch", ["0", "1"], "unexpected argument: 1"),
    ("serve", ["--alow-host", "x"], "did you mean '--allow-host'?"),
    ("calibrate", ["--lables", "l.csv"], "did you mean '--labels'?"),
    ("evaluate", ["--fromat", "coco"], "did you mean '--format'?"),
    ("doctor", ["report.json"], "unexpected argument: report.json"),
    ("help", ["detekt"], "'detekt'; did you mean 'detect'?"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "words", "said"), SLIPS)
def test_a_slip_shows_the_usage_of_its_command_and_the_nearest_word(
    command: str, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, *words]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"usage: edge-mtcnn {command} ")
    assert said in output.err.splitlines()[-1]


@pytest.mark.parametrize("word", ["--verison", "detekt", "serv"])
def test_a_slip_before_the_command_shows_the_usage_of_the_program(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word]) == 2
    output = capsys.readouterr().err
    assert output.startswith("usage: edge-mtcnn [-h]")
    assert re.search(r"did you mean '(--version|detect|serve)'\?", output)


def test_a_word_that_resembles_nothing_is_named_without_a_guess(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["detect", "--quux"]) == 2
    assert capsys.readouterr().err.endswith("unknown option --quux\n")


def test_a_photo_without_a_command_is_answered_with_the_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([__file__]) == 2
    assert f"run: edge-mtcnn detect {__file__} (choose from" in capsys.readouterr().err


def test_the_beginning_of_an_option_and_what_follows_two_hyphens_stay_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["detect", "--min-face", "40", "--js", "-"]) == 0
    assert capsys.readouterr().out.startswith('{"path": ')
    assert main(["detect", "--", "--min-face-sise"]) == 1
    assert "--min-face-sise" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["help"], ["--help"]])
def test_no_command_and_help_show_the_commands(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    output = capsys.readouterr()
    assert output.err == ""
    for name in (*COMMANDS, "help"):
        assert re.search(rf"^    {name}\b", output.out, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_is_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    expected = capsys.readouterr().out
    assert main(["help", name]) == 0
    assert capsys.readouterr().out == expected


@pytest.mark.filterwarnings("always")
def test_a_warning_of_the_package_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sample_path: Callable[[str], Path],
) -> None:
    # As on a machine whose ONNX Runtime was made for a device that it lacks.
    monkeypatch.setattr(devices, "unused_device", lambda: ("CUDA: no driver", "Install one"))
    assert main(["detect", "--device", "auto", str(sample_path("coffee"))]) == 0
    (told,) = [line for line in capsys.readouterr().err.splitlines() if "no driver" in line]
    assert told.startswith("warning: ")
    assert ".py" not in told
