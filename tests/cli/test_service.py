"""``edge-mtcnn service``: the files for systemd, as they lie in ``packaging/``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edge_mtcnn.cli import main

FILES = {
    "--print-unit": "edge-mtcnn.service",
    "--print-settings": "edge-mtcnn.default",
    "--print-browser-unit": "kiosk.service",
}
ELSEWHERE = "/opt/edge-mtcnn/bin/edge-mtcnn"


def test_every_file_of_the_folder_is_printed(project_root: Path) -> None:
    assert {path.name for path in (project_root / "packaging").iterdir()} == set(FILES.values())


@pytest.mark.parametrize("flag", FILES)
def test_a_file_is_printed_as_it_is_where_the_command_is_not_installed(
    flag: str,
    project_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert main(["service", flag]) == 0
    text = (project_root / "packaging" / FILES[flag]).read_text(encoding="utf-8")
    assert capsys.readouterr() == (text, "")


@pytest.mark.parametrize("home", ["/home", "/root", None])
def test_the_unit_starts_this_installation(
    home: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = Path(home or "/srv") / "kiosk" / "bin"
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setattr("edge_mtcnn.cli.service.Path.is_file", lambda _: True)
    monkeypatch.setattr("edge_mtcnn.cli.service.resource", _of_the_checkout)
    assert main(["service", "--print-unit"]) == 0
    printed, warning = capsys.readouterr()
    assert f"ExecStart={folder}/edge-mtcnn serve $EDGE_MTCNN_OPTIONS\n" in printed
    assert ELSEWHERE not in printed
    assert ("ProtectHome=yes hides" in warning) is (home is not None)


def _of_the_checkout(name: str) -> Path:
    return Path(__file__).resolve().parents[2] / name


def test_without_a_flag_the_usage_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["service"]) == 2
    message = capsys.readouterr().err
    assert all(flag in message for flag in FILES)
