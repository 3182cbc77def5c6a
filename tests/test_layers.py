"""Holds the order in which the modules of edge_mtcnn may import each other.

The order is read with ``ast``, so imports inside functions, under ``TYPE_CHECKING`` and by
``import_module("name")`` count too. A module that the order does not know fails: place it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "edge_mtcnn"
SOURCE = Path(__file__).resolve().parent.parent / PACKAGE

# A module or folder imports only from lines above its own; those on one line never import each
# other. A dotted name places a module inside its folder, where the same rule holds.
ORDER: tuple[tuple[str, ...], ...] = (
    ("_version", "errors", "files"),
    ("options", "types"),
    ("known_false",),
    ("calibration",),
    ("images", "cascade", "runtime"),
    ("detector",),
    ("compat",),
    ("board",),
    ("speed",),
    ("thresholds", "video"),
    ("serve", "bulk"),
    ("doctor",),
    ("cli",),
    ("__main__", "_pyinstaller"),
)
INNER_ORDER: dict[str, tuple[tuple[str, ...], ...]] = {
    "options": (("checks",), ("detection", "runtime"), ("files",)),
    "images": (
        ("av1", "codec_errors", "others", "sources"),
        ("heif",),
        ("arrays", "headers"),
        ("decoding", "mounting"),
        ("reading",),
        ("inputs",),
        ("crops", "drawing", "writing"),
    ),
    "cascade": (
        ("boxes", "candidates", "canvases", "networks", "pyramid"),
        ("fixed_canvases",),
        ("exposure", "pnet", "turn", "windows"),
        ("rnet", "onet"),
        ("known", "scoring", "trace"),
        ("search",),
    ),
    "runtime": (
        ("deadline", "models", "providers", "workers"),
        ("engines", "fixed"),
        ("sessions",),
        ("devices",),
    ),
    "compat": (("results",), ("mtcnn",)),
    "board": (("camera_stack", "cameras", "identity", "memory", "new_process", "sensors"),),
    "speed": (("timing",), ("report", "tuning")),
    "thresholds": (
        ("intervals", "matching"),
        ("scores",),
        ("choice",),
        ("labels",),
        ("journal", "precision"),
        ("detections",),
        ("calibrator", "evaluation"),
        ("page", "plots", "teaching", "thumbnails"),
        ("collected", "report"),
    ),
    "thresholds.labels": (
        ("images",),
        ("coco", "csv_file", "folders", "wider", "yolo"),
        ("formats",),
    ),
    "video": (
        ("source",),
        ("tracking",),
        ("blind",),
        ("events",),
        ("presence",),
        ("rotation", "snapshot"),
        ("callbacks", "collector", "loop", "overlay"),
        ("watcher",),
    ),
    "video.source": (("advice", "captures"), ("devices",), ("reader",), ("source",)),
    "video.tracking": (("budget", "flow", "motion", "smoothing"), ("tracks",), ("tracker",)),
    "serve": (
        ("options", "notify", "page"),
        ("limits", "openapi", "security", "state"),
        ("connections", "events", "metrics", "pictures", "query"),
        ("bodies", "marking", "rotation", "wanted"),
        ("detection",),
        ("app",),
        ("server",),
    ),
    "bulk": (
        ("options", "places", "schema"),
        ("plan",),
        ("archives", "tables"),
        ("listing", "reading"),
        ("searching",),
        ("work",),
        ("dataset", "local", "on_ray"),
        ("export", "run"),
    ),
    "doctor": (("packages", "selftest"), ("rules",), ("boards",)),
    "_pyinstaller": (("hook-edge_mtcnn", "hook-edge_mtcnn.cli"),),
    "cli": (
        ("parser", "stopping", "terminal"),
        ("arguments", "mounting", "outputs", "video_file"),
        ("inputs", "labelled", "teaching", "watch_arguments", "watch_output"),
        (
            *("bench", "bulk", "calibrate", "collect", "config", "detect", "doctor", "evaluate"),
            *("serve", "service", "tune", "warm_up", "watch"),
        ),
    ),
}
FEATURES = {"speed", "thresholds", "video", "serve", "bulk", "doctor"}
RANK = {name: rank for rank, line in enumerate(ORDER) for name in line}

# Loaded only when a command runs, so that `edge-mtcnn --help` answers at once.
HEAVY = {"detector", "compat", "cascade", "runtime", "board"} | FEATURES

STANDARD_LIBRARY = sys.stdlib_module_names | {"tomllib"}  # Python 3.10 has no tomllib yet
BASE_REQUIREMENTS = {"numpy", "cv2"}
EXTRA_REQUIREMENTS = {
    "types": {"supervision"},  # the caller's own package: only `to_supervision` needs it
    "runtime": {"onnxruntime"},
    "images": {"PIL", "pillow_heif"},
    "cli": {"tqdm"},
    "thresholds": {"matplotlib"},
    "bulk": {"fsspec", "pyarrow", "ray"},
    "serve": {"prometheus_client", "python_multipart", "starlette", "uvicorn"},
    "_pyinstaller": {"PyInstaller"},  # runs these hooks itself
    "video": {"libcamera", "picamera2"},  # the board's own: only the camera module needs them
}


@dataclass(frozen=True)
class Import:
    """One import: where it stands and the dotted name that it loads."""

    path: Path
    line: int
    target: str
    inside_function: bool
    types_only: bool

    @property
    def importer(self) -> str:
        """First name below the package: ``edge_mtcnn/cli/detect.py`` is ``cli``."""
        return self.path.relative_to(SOURCE).parts[0].removesuffix(".py")

    @property
    def top(self) -> str:
        return self.target.split(".")[0]

    @property
    def layer(self) -> str | None:
        """The module of our own that is loaded; empty for the package itself, None for others."""
        parts = self.target.split(".")
        if parts[0] != PACKAGE:
            return None
        return parts[1] if len(parts) > 1 else ""

    def __str__(self) -> str:
        return f"{self.path.relative_to(SOURCE.parent)}:{self.line} imports {self.target}"


def exists(dotted: str) -> bool:
    path = SOURCE.parent.joinpath(*dotted.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def targets(node: ast.AST, path: Path) -> Iterator[str]:
    """Dotted names that one syntax node loads; ``from package import module`` gives the module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parents = path.relative_to(SOURCE.parent).with_suffix("").parts[: -node.level]
            base = ".".join((*parents, base)) if base else ".".join(parents)
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            yield inner if base.split(".")[0] == PACKAGE and exists(inner) else base
    elif isinstance(node, ast.Call) and node.args:
        called = ast.unparse(node.func).split(".")[-1]
        first = node.args[0]
        if called in {"import_module", "__import__"} and isinstance(first, ast.Constant):
            yield str(first.value)


def imports_of(path: Path) -> Iterator[Import]:
    def walk(node: ast.AST, inside_function: bool, types_only: bool) -> Iterator[Import]:
        for target in targets(node, path):
            line = getattr(node, "lineno", 0)
            yield Import(path, line, target, inside_function, types_only)
        within = inside_function or isinstance(
            node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
        )
        guarded: list[ast.stmt] = []
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            guarded = node.body
        for child in ast.iter_child_nodes(node):
            yield from walk(child, within, types_only or child in guarded)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), False, False)


FILES = sorted(SOURCE.rglob("*.py"))
IMPORTS = [found for path in FILES for found in imports_of(path)]
# The package's own __init__ stands above everything: it is the public face.
INNER = [found for found in IMPORTS if found.path != SOURCE / "__init__.py"]


def report(wrong: list[Import]) -> str:
    return "\n".join(map(str, wrong))


def test_every_module_has_a_place_in_the_order() -> None:
    found = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in FILES}
    unknown = sorted(found - RANK.keys() - {"__init__"})
    assert len(found) > 3
    assert not unknown, f"place these in ORDER of {Path(__file__).name}: {unknown}"


def test_modules_import_only_from_modules_before_them() -> None:
    ours = [found for found in INNER if found.layer]
    wrong = [
        found
        for found in ours
        if found.layer != found.importer
        and RANK.get(found.layer or "", len(ORDER)) >= RANK.get(found.importer, -1)
    ]
    assert ours
    assert not wrong, report(wrong)


@pytest.mark.parametrize("folder", INNER_ORDER)
def test_modules_of_a_folder_import_only_from_modules_before_them(folder: str) -> None:
    rank = {name: rank for rank, line in enumerate(INNER_ORDER[folder]) for name in line}
    place = SOURCE.joinpath(*folder.split("."))
    inside = [path for path in FILES if place in path.parents and path != place / "__init__.py"]
    modules = {path.relative_to(place).parts[0].removesuffix(".py") for path in inside}
    assert modules == set(rank), f"place each module in INNER_ORDER of {Path(__file__).name}"
    prefix = f"{PACKAGE}.{folder}."
    wrong = []
    for found in IMPORTS:
        if found.path not in inside or not found.target.startswith(prefix):
            continue
        importer = found.path.relative_to(place).parts[0].removesuffix(".py")
        imported = found.target.removeprefix(prefix).split(".")[0]
        if importer != imported and rank[imported] >= rank[importer]:
            wrong.append(found)
    assert not wrong, report(wrong)


def test_every_folder_of_the_package_has_an_inner_order() -> None:
    folders = {".".join(path.parent.relative_to(SOURCE).parts) for path in FILES} - {""}
    assert folders - set(INNER_ORDER) == {"serve.page"}


def test_no_module_imports_the_package_itself() -> None:
    wrong = [found for found in INNER if found.layer == ""]
    assert not wrong, "import the module that has the name:\n" + report(wrong)


def test_features_never_reach_into_the_cascade_or_the_runtime() -> None:
    # They stand on the detector. The board, the doctor and tuning ask the runtime about threads,
    # forms and providers; no one but the detector sees a network's output or a box of the cascade.
    asking = {"board", "doctor", "speed"}
    wrong = [
        found
        for found in INNER
        if not found.types_only
        and (
            (found.layer == "cascade" and found.importer not in {"cascade", "detector"})
            or (found.layer == "runtime" and found.importer in FEATURES - asking | {"cli"})
        )
    ]
    assert not wrong, report(wrong)


def test_only_providers_loads_onnx_runtime() -> None:
    wrong = [
        found
        for found in IMPORTS
        if found.top == "onnxruntime" and found.path != SOURCE / "runtime" / "providers.py"
    ]
    assert not wrong, report(wrong)


def test_commands_load_detector_and_features_inside_functions() -> None:
    wrong = [
        found
        for found in INNER
        if found.importer in {"cli", "__main__"}
        and found.layer in HEAVY
        and not (found.inside_function or found.types_only)
    ]
    assert not wrong, report(wrong)


def test_modules_use_only_the_packages_that_are_declared_for_them() -> None:
    wrong = [
        found
        for found in IMPORTS
        if found.layer is None
        and not found.types_only
        and found.top not in STANDARD_LIBRARY
        and found.top not in BASE_REQUIREMENTS | EXTRA_REQUIREMENTS.get(found.importer, set())
    ]
    assert not wrong, report(wrong)


def test_no_private_name_crosses_a_module_border() -> None:
    wrong = [
        f"{path.relative_to(SOURCE.parent)}:{node.lineno} takes {alias.name} from {node.module}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE)
        for alias in node.names
        if alias.name.startswith("_")
        and alias.name != "__version__"
        and not exists(f"{node.module}.{alias.name}")
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import onnxruntime as ort", ["onnxruntime"]),
        ("def f():\n    from onnxruntime import InferenceSession", ["onnxruntime"]),
        ("importlib.import_module('onnxruntime')", ["onnxruntime"]),
        ("from edge_mtcnn import errors", ["edge_mtcnn.errors"]),
        ("from edge_mtcnn import FaceDetector", ["edge_mtcnn"]),
        ("from . import errors", ["edge_mtcnn.errors"]),
        ("from .errors import ImageError", ["edge_mtcnn.errors"]),
    ],
)
def test_the_reader_sees_each_way_to_import(source: str, expected: list[str]) -> None:
    path = SOURCE / "probe.py"
    found = [name for node in ast.walk(ast.parse(source)) for name in targets(node, path)]
    assert found == expected
