"""``edge-mtcnn doctor``: check what is installed, what it runs on, and whether it works."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from edge_mtcnn.cli.arguments import (
    add_command,
    add_config_argument,
    add_runtime_arguments,
    options_from,
    sample_photo,
)
from edge_mtcnn.cli.terminal import plural, printable, running_on, write_line

if TYPE_CHECKING:
    from edge_mtcnn.cli.arguments import Commands
    from edge_mtcnn.doctor import Machine, Report, SelfTest

_LABEL_WIDTH = 14
_NO_CAMERA = "plug one in, or try a video: edge-mtcnn watch VIDEO --loop"
_NO_MODULE = "plug one in; if it is a camera module, rpicam-hello --list-cameras must list it first"
_NO_LIST = "this system does not list cameras here; try edge-mtcnn watch 0"


def add_parser(commands: Commands) -> None:
    """Add the arguments of ``doctor``."""
    parser = add_command(
        commands,
        "doctor",
        "check the installation: packages, machine, cameras, model files and one detection",
        example="edge-mtcnn doctor\nedge-mtcnn doctor --device cuda --json > report.json",
        notes="The exit code is 1 when a problem was found, and 0 when there are only warnings.",
    )
    parser.add_argument("--json", action="store_true", help="write one JSON object instead of text")
    add_config_argument(parser)
    add_runtime_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Examine the installation; 1 when there is a problem."""
    from edge_mtcnn.doctor import examine

    _, runtime = options_from(args)
    report = examine(sample_photo(), runtime)
    lines = [json.dumps(report.to_dict(), indent=2)] if args.json else _lines(report)
    for line in lines:
        write_line(line)
    return 0 if report.well else 1


def _lines(report: Report) -> Iterator[str]:
    yield from _section("packages", _package_rows(report))
    yield from _section("machine", _machine_rows(report))
    yield from _section("cameras", _camera_rows(report))
    version = report.model_version or "unknown"
    yield from _section(
        f"models {version} in {report.model_folder}",
        [(check.file, check.state) for check in report.models] or [("manifest", "unreadable")],
    )
    yield from _section("self-test on the sample photo", _test_rows(report.self_test))
    for finding in report.findings:
        yield f"{finding.level}: {finding.what}"
        yield f"  {finding.advice}"
    problems = sum(finding.level == "problem" for finding in report.findings)
    warnings = len(report.findings) - problems
    found = plural(problems, "problem") if problems else "no problem"
    yield f"{found} found" + (f", {plural(warnings, 'warning')}" if warnings else "")


def _section(title: str, rows: list[tuple[str, str]]) -> Iterator[str]:
    width = max(_LABEL_WIDTH, *(len(label) for label, _ in rows))
    yield title
    for label, value in rows:
        yield f"  {label:<{width}}  {value}"
    yield ""


def _package_rows(report: Report) -> list[tuple[str, str]]:
    rows = []
    sources = {"OpenCV": report.opencvs, "ONNX Runtime": report.runtimes}
    for name, version in report.versions.items():
        value = version or "cannot be loaded"
        if name in sources:
            value += f" ({', '.join(map(str, sources[name])) or 'no distribution known to pip'})"
        elif name == "Python":
            value += f", {report.machine.python_bits} bits, {sys.executable}"
        rows.append((name, value))
    providers = report.self_test.told.get("providers", ())
    rows.append(("providers", ", ".join(providers) or "none"))
    return rows


def _machine_rows(report: Report) -> list[tuple[str, str]]:
    machine = report.machine
    jetson = filter(
        None, (machine.jetpack and f"JetPack {machine.jetpack}", machine.jetson_release)
    )
    degrees = report.readings.temperatures.items()
    rows = [
        ("board", machine.board),
        ("Jetson", ", ".join(jetson)),
        ("system", f"{machine.system}, {machine.architecture}"),
        ("distribution", machine.distribution),
        ("processor", machine.processor),
        ("features", " ".join(machine.features)),
        ("cores", f"{machine.cores}, of which {machine.threads} for this process"),
        ("memory", _memory(machine)),
        ("temperature", ", ".join(f"{name} {value:.0f} °C" for name, value in degrees)),
        *(("install" if line is report.install[0] else "", line) for line in report.install),
    ]
    return [(label, printable(value)) for label, value in rows if value]


def _camera_rows(report: Report) -> list[tuple[str, str]]:
    """A row for each camera and each of its pixel formats, with sizes and frame rates."""
    rows = []
    for camera in report.cameras:
        rows.append((printable(camera.device), f"{printable(camera.name)}: SOURCE {camera.source}"))
        sizes: dict[str, list[str]] = {}
        for mode in camera.modes:
            rate = "" if mode.fps is None else f"@{mode.fps:g}"
            sizes.setdefault(printable(mode.pixels), []).append(f"{mode.width}x{mode.height}{rate}")
        rows += [(f"  {pixels}", " ".join(listed)) for pixels, listed in sizes.items()]
        if camera.problem is not None:
            rows.append(("", printable(camera.problem)))
    if not rows:
        listed = sys.platform == "linux"
        advice = _NO_MODULE if report.machine.is_raspberry_pi else _NO_CAMERA
        rows.append(("none found" if listed else "not listed", advice if listed else _NO_LIST))
    if report.picamera2:
        rows.append(("picamera2", "installed: SOURCE picamera2 is a Raspberry Pi's camera module"))
    return rows


def _memory(machine: Machine) -> str | None:
    if machine.memory is None:
        return None
    free = machine.memory_available
    rest = "" if free is None else f", {free / 2**20:,.0f} available"
    return f"{machine.memory / 2**20:,.0f} MiB{rest}"


def _test_rows(test: SelfTest) -> list[tuple[str, str]]:
    values = test.told
    if test.error is not None:
        return [("failed", test.error)]
    faces = values["faces"]
    where = "; ".join("{2}x{3} at ({0}, {1})".format(*face["box"]) for face in faces)
    return [
        ("face", f"{'as expected' if test.passed else 'not as expected'}: {where or 'none'}"),
        ("load", f"{values['load_ms']:.0f} ms"),
        ("detect", f"{values['median_ms']:.1f} ms, the first time {values['first_ms']:.1f} ms"),
        ("runs on", _running(values["runs"])),
    ]


def _running(info: dict[str, Any]) -> str:
    """``FaceDetector.info`` for people."""
    return f"{running_on(info)}; {plural(info['threads'], 'thread')}, form {info['form']}"
