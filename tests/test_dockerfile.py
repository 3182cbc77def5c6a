"""The container image: what the Dockerfile copies exists, and what it starts is understood."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from edge_mtcnn.cli import main

ROOT = Path(__file__).resolve().parent.parent
LINES = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()


def instructions(name: str) -> list[str]:
    """The arguments of all instructions of a kind."""
    return [line.removeprefix(name).strip() for line in LINES if line.startswith(f"{name} ")]


def test_all_that_is_copied_exists_and_reaches_the_builder() -> None:
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    copied = [
        source
        for text in instructions("COPY")
        if not text.startswith("--from")
        for source in shlex.split(text)[:-1]
    ]
    assert {"edge_mtcnn", "models", "pyproject.toml"} <= set(copied)
    for source in copied:
        assert (ROOT / source).exists()
        assert f"!{source}" in sent


def test_the_service_is_started_without_rights_and_refuses_to_be_open(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGE_MTCNN_TOKEN", raising=False)
    (user,), (entry,) = instructions("USER"), instructions("ENTRYPOINT")
    assert user not in ("0", "root", "0:0")
    program, *arguments = json.loads(entry)
    assert program == "edge-mtcnn"
    assert main(arguments) == 2  # a token is missing, and nothing else
    assert "token" in capsys.readouterr().err


def test_the_health_check_asks_a_route_that_exists() -> None:
    (check,) = instructions("HEALTHCHECK")
    (route,) = re.findall(r"127\.0\.0\.1:8080(/\w+)", check)
    routes = json.loads((ROOT / "edge_mtcnn/serve/openapi.json").read_text())["paths"]
    assert route in routes
    assert instructions("EXPOSE") == ["8080"]
