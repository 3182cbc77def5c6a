"""The file of ``--config``: what ``config`` writes and checks, and what the commands read."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from edge_mtcnn import DetectorOptions, OptionsError, RuntimeOptions
from edge_mtcnn.cli import main
from edge_mtcnn.cli.arguments import options_from
from edge_mtcnn.cli.config import meanings
from edge_mtcnn.cli.parser import Parser
from edge_mtcnn.cli.serve import _serve_options
from edge_mtcnn.cli.serve import add_parser as add_serve
from edge_mtcnn.cli.watch import add_parser as add_watch
from edge_mtcnn.cli.watch_arguments import watch_options_from
from edge_mtcnn.options import PRESETS, load_options, load_section
from edge_mtcnn.serve import ServeOptions, load_serve_options
from edge_mtcnn.video import (
    BlindOptions,
    PresenceOptions,
    SourceOptions,
    TrackerOptions,
    WatchOptions,
    load_watch_options,
)

TOML = pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 reads no TOML")
KINDS: list[Any] = [
    DetectorOptions,
    RuntimeOptions,
    SourceOptions,
    TrackerOptions,
    PresenceOptions,
    BlindOptions,
    ServeOptions,
]
TOKEN = "correct-horse-battery-staple"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EDGE_MTCNN_SOURCE", "EDGE_MTCNN_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., str]:
    def save(**tables: Any) -> str:
        file = tmp_path / "options.json"
        file.write_text(json.dumps(tables))
        return str(file)

    return save


def arguments(add: Any, *words: str) -> Any:
    commands = Parser().add_subparsers()
    add(commands)
    (parser,) = commands.choices.values()
    return parser.parse_args(words)


def watched(*words: str) -> tuple[DetectorOptions, WatchOptions]:
    detector, _, watch = watch_options_from(arguments(add_watch, "0", *words), None)
    return detector, watch


# The file that is written.


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_has_a_meaning_in_its_docstring(kind: Any) -> None:
    told = meanings(kind)
    assert set(told) == {field.name for field in fields(kind)}
    assert all(len(text) > 15 for text in told.values()), told


@TOML
def test_the_file_holds_every_option_as_a_comment_at_its_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "all.toml"
    assert main(["config", "--init", str(file)]) == 0
    assert f"--config {file}" in capsys.readouterr().err
    text = file.read_text()
    assert max(map(len, text.splitlines())) <= 100
    assert "``" not in text
    named = re.findall(r"^#(\w+) = ", text, re.MULTILINE)
    assert sorted(named) == sorted(["preset", *(f.name for kind in KINDS for f in fields(kind))])

    file.write_text(re.sub(r"^#(?=\w)", "", text, flags=re.MULTILINE))
    assert main(["config", "--check", str(file)]) == 0
    assert load_options(file) == (DetectorOptions(), RuntimeOptions())
    assert load_watch_options(file) == WatchOptions()
    assert load_serve_options(file) == ServeOptions()


@TOML
def test_untouched_the_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "none.toml"
    assert main(["config", "--init", str(file)]) == 0
    assert watched("--config", str(file)) == watched()


def test_without_a_name_the_file_goes_to_standard_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["config", "--init"]) == 0
    assert "[presence]" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "one of the arguments --init --check is required"),
        (["--init", "there.toml"], "exists already"),
        (["--init", "new.json"], "such as new.toml"),
        (["--init", "nowhere/new.toml"], "there is no folder nowhere"),
        (["--check", "nowhere.toml"], "cannot read the options file nowhere.toml"),
    ],
)
def test_wrong_use_is_one_clear_message(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.toml").write_text("mine")
    assert main(["config", *words]) == 2
    assert said in capsys.readouterr().err
    assert Path("there.toml").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["there.toml"]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"presense": {}}, "unknown entry 'presense'; did you mean 'presence'?"),
    ({"min_face_size": 20}, "put it into the table [detector]"),
    ({"threads": 2}, "put it into the table [runtime]"),
    ({"preset": "kiosc"}, "did you mean 'kiosk'?"),
    ({"detector": {"min_face_sise": 20}}, "[detector] unknown option 'min_face_sise'"),
    ({"presence": {"leave_aftr": 1}}, "did you mean 'leave_after'?"),
    ({"presence": {"region": [0, 0, 2, 1]}}, "[presence] each of region"),
    ({"source": {"size": 640}}, "[source] size must be a width and a height"),
    ({"tracking": {"budget_ms": "fast"}}, "[tracking] budget_ms must be a number"),
    ({"blind": {"dark_level": -1}}, "[blind] dark_level"),
    ({"service": {"port": "8080"}}, "[service] port must be a whole number"),
    ({"service": {"hosts": "kiosk.local"}}, "[service] hosts must be a list of texts"),
    ({"service": {"token": 1234567890123456}}, "[service] the token must be a text; got int"),
    ({"service": {"host": 5}}, "[service] host must be an address"),
    ({"service": []}, "[service] options must be a table"),
]


@pytest.mark.parametrize(("tables", "said"), WRONG)
def test_what_is_wrong_is_named_with_its_table_and_the_nearest_word(
    tables: dict[str, Any],
    said: str,
    saved: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = saved(**tables)
    assert main(["config", "--check", file]) == 2
    message = capsys.readouterr().err
    assert f"error: {file}: " in message
    assert said in message


# What the commands read.


def test_a_file_without_a_preset_keeps_that_of_the_command(saved: Callable[..., str]) -> None:
    file = saved(runtime={"threads": 1})
    kiosk = replace(PRESETS["kiosk"], confidence=0.0)
    assert watched("--config", file)[0] == kiosk
    assert options_from(arguments(add_serve, "0", "--config", file))[0] == DetectorOptions()
    file = saved(detector={"max_face_size": 400})
    assert watched("--config", file)[0] == replace(kiosk, max_face_size=400)
    file = saved(preset="default")
    assert watched("--config", file)[0].min_face_size == 20
    assert watched("--config", file, "--preset", "kiosk")[0] == kiosk


def test_watch_reads_its_tables_and_flags_win(saved: Callable[..., str]) -> None:
    file = saved(
        source={"pace": "fast", "open_timeout": 20},
        tracking={"budget_ms": 5, "max_tracks": 9},
        presence={"leave_after": 4, "select": "central", "confidence": 0.7},
        blind={"frozen_seconds": 60},
        service={"port": 1},
    )
    _, watch = watched("--config", file)
    assert watch == load_watch_options(file)
    assert watch.source == SourceOptions(pace="fast", open_timeout=20)
    assert watch.presence == PresenceOptions(leave_after=4, select="central", confidence=0.7)
    assert watch.blind == BlindOptions(frozen_seconds=60)
    flags = ["--budget-ms", "8", "--select", "longest", "--confidence", "0.8"]
    _, watch = watched("--config", file, *flags)
    assert watch.tracker == TrackerOptions(budget_ms=8, max_tracks=9)
    assert watch.presence == PresenceOptions(leave_after=4, select="longest", confidence=0.8)


def test_serve_reads_its_table_and_flags_win(
    saved: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = saved(service={"host": "0.0.0.0", "port": 9000, "stream": True, "waiting": 7})
    with pytest.raises(OptionsError, match=r"options\.json: \[service\] listening on 0\.0\.0\.0"):
        _serve_options(arguments(add_serve, "--config", file))
    options = _serve_options(arguments(add_serve, "--config", file, "--host", "127.0.0.1",
                                       "--port", "0"))  # fmt: skip
    assert options == ServeOptions(host="127.0.0.1", port=0, stream=True, waiting=7)
    secret = tmp_path / "token"
    secret.write_text(TOKEN)
    options = _serve_options(arguments(add_serve, "--config", file, "--token-file", str(secret)))
    assert (options.host, options.port, options.token) == ("0.0.0.0", 9000, TOKEN)
    assert load_serve_options(file, token=TOKEN) == options
    monkeypatch.setenv("EDGE_MTCNN_TOKEN", TOKEN)
    assert _serve_options(arguments(add_serve, "--config", file)) == options


def test_a_table_that_a_command_does_not_use_is_not_its_problem(
    saved: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(service={"prot": 80}, detector={"min_face_size": 60})
    assert main(["detect", "--config", file, "--json", "-"]) == 0
    assert len(json.loads(capsys.readouterr().out)["faces"]) == 1
    assert main(["serve", "--config", file]) == 2
    assert "unknown option 'prot' of ServeOptions; did you mean 'port'?" in capsys.readouterr().err


def test_a_section_changes_only_what_it_names(saved: Callable[..., str]) -> None:
    file = saved(presence={"leave_after": 4, "select": "central"})
    options = PresenceOptions(appear_after=2, select="longest")
    read = load_section(file, "presence", options, keep=["select"])
    assert read == replace(options, leave_after=4)
    assert load_section(file, "blind", BlindOptions()) == BlindOptions()
