"""What a user installs: the built wheel, in clean environments outside the checkout.

One wheel is built for all tests. Each environment gets it from its file, never from the checkout,
and runs in an empty folder with nothing of the test run's environment but PATH.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
# Small boards download over slow lines; the models are 2 MB of it.
MAX_WHEEL_BYTES = 2_500_000
BASE_INSTALL = {"edge-mtcnn", "numpy", "opencv-python-headless"}
# What releases of ONNX Runtime since 1.16 pull in; the newest ones need fewer.
ONNX_RUNTIME = {"onnxruntime", "flatbuffers", "packaging", "protobuf"}
OLDER_ONNX_RUNTIME = {"coloredlogs", "humanfriendly", "mpmath", "sympy", "typing-extensions"}
SUPPORTED = ("3.10", "3.11", "3.12", "3.13", "3.14")
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
# The astronaut's face in the golden results of the original program: x, y, width, height.
ASTRONAUT_BOX = (179, 60, 88, 114)
# The default preset may place a box differently from the reference; this only says "the same face".
SAME_FACE_PX = 25

DETECT_SAMPLE = """
import json, sys
from importlib.resources import files
import cv2
import edge_mtcnn

sample = files("edge_mtcnn") / "samples" / "astronaut.jpg"
image = cv2.cvtColor(cv2.imread(str(sample)), cv2.COLOR_BGR2RGB)
with edge_mtcnn.FaceDetector() as detector:
    faces = detector.detect(image)
print(json.dumps({"file": edge_mtcnn.__file__, "faces": faces.to_dicts()}))
"""


def run(command: Sequence[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run in ``cwd`` without the variables that could lead Python back to the checkout."""
    unwanted = ("PYTHON", "VIRTUAL_ENV", "COV_", "PYTEST")
    env = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
    )


def checked(command: Sequence[str | Path], cwd: Path) -> str:
    done = run(command, cwd)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@functools.cache
def find_interpreter(version: str) -> str | None:
    """Return a Python of that version that works, from PATH or from pyenv's folder."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [
        sys.executable if version == RUNNING else None,
        shutil.which(f"python{version}"),
        *map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"))),
    ]
    question = "import sys, ssl, venv; print('%d.%d' % sys.version_info[:2])"
    for candidate in filter(None, candidates):
        done = subprocess.run([candidate, "-c", question], capture_output=True, text=True)
        if done.returncode == 0 and done.stdout.strip() == version:
            return candidate
    return None


@dataclass(frozen=True)
class Environment:
    """A virtual environment outside the checkout, filled by the pip of the test run."""

    folder: Path

    @classmethod
    def create(cls, interpreter: str, folder: Path) -> Environment:
        checked([interpreter, "-m", "venv", "--without-pip", folder / "venv"], cwd=folder)
        (folder / "work").mkdir()
        return cls(folder)

    def _script(self, name: str) -> Path:
        scripts = "Scripts" if os.name == "nt" else "bin"
        return self.folder / "venv" / scripts / name

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run([self._script(script), *arguments], cwd=self.folder / "work")

    def output(self, script: str, *arguments: str) -> str:
        return checked([self._script(script), *arguments], cwd=self.folder / "work")

    def pip(self, *arguments: str | Path) -> str:
        python = str(self._script("python"))
        pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
        return checked([*pip, *arguments], cwd=self.folder / "work")

    def distributions(self) -> set[str]:
        listed = json.loads(self.pip("list", "--format=json"))
        return {entry["name"].lower().replace("_", "-") for entry in listed}


@dataclass(frozen=True)
class Built:
    """The two distributions, built once from the checkout."""

    sdist: Path
    wheel: Path

    def wheel_files(self) -> dict[str, bytes]:
        return contents(self.wheel)

    def metadata(self) -> Message:
        name = next(n for n in self.wheel_files() if n.endswith(".dist-info/METADATA"))
        return Parser().parsestr(self.wheel_files()[name].decode())


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def build(source: Path, output: Path, *kinds: str) -> Path:
    checked(
        [sys.executable, "-m", "build", "--no-isolation", *kinds, "--outdir", output, source],
        cwd=output.parent,
    )
    return output


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    output = tmp_path_factory.mktemp("built") / "dist"
    build(ROOT, output, "--sdist", "--wheel")
    (sdist,) = output.glob("*.tar.gz")
    (wheel,) = output.glob("*.whl")
    return Built(sdist, wheel)


@pytest.fixture(scope="module", params=SUPPORTED)
def installed(
    request: pytest.FixtureRequest, built: Built, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """The wheel with its ``cpu`` extra, for each interpreter that this machine has."""
    interpreter = find_interpreter(request.param)
    if interpreter is None:
        pytest.skip(f"no working Python {request.param} on this machine")
    environment = Environment.create(interpreter, tmp_path_factory.mktemp(f"py{request.param}"))
    environment.pip("install", "--quiet", f"{built.wheel}[cpu]")
    return environment


def test_the_wheel_is_small_enough_for_a_board(built: Built) -> None:
    assert built.wheel.name.endswith("-py3-none-any.whl")
    assert 1_000_000 < built.wheel.stat().st_size < MAX_WHEEL_BYTES


def test_the_wheel_has_the_models_of_the_checkout_byte_for_byte(built: Built) -> None:
    files = built.wheel_files()
    packed = {n.rpartition("/")[2]: files[n] for n in files if n.startswith("edge_mtcnn/models/")}
    assert packed == {path.name: path.read_bytes() for path in (ROOT / "models").iterdir()}
    assert {"manifest.json", "MODEL_CARD.md"} <= packed.keys()
    assert {Path(name).suffix for name in packed} >= {".onnx"}


def test_the_wheel_has_sample_types_marker_and_licences(built: Built) -> None:
    files = built.wheel_files()
    info = f"{built.wheel.name.removesuffix('-py3-none-any.whl')}.dist-info"
    for name in ("LICENSE", "NOTICE"):
        assert files[f"{info}/licenses/{name}"] == (ROOT / name).read_bytes()
    astronaut = ROOT / "samples" / "astronaut.jpg"
    assert files["edge_mtcnn/samples/astronaut.jpg"] == astronaut.read_bytes()
    assert "edge_mtcnn/py.typed" in files


def test_the_wheel_has_the_page_and_the_description_of_the_service(built: Built) -> None:
    files = built.wheel_files()
    folder = ROOT / "edge_mtcnn" / "serve"
    paths = [path for path in folder.rglob("*.*") if path.suffix not in {".py", ".pyc"}]
    assert {path.name for path in paths} >= {"openapi.json", "index.html", "app.js", "style.css"}
    for path in paths:
        assert files[path.relative_to(ROOT).as_posix()] == path.read_bytes()


def test_the_wheel_has_the_files_for_systemd(built: Built) -> None:
    files = built.wheel_files()
    packed = {
        n.rpartition("/")[2]: files[n] for n in files if n.startswith("edge_mtcnn/packaging/")
    }
    assert packed == {path.name: path.read_bytes() for path in (ROOT / "packaging").iterdir()}


def test_the_wheel_has_nothing_of_development(built: Built) -> None:
    files = built.wheel_files()
    tops = {name.split("/")[0] for name in files}
    assert tops == {"edge_mtcnn", next(top for top in tops if top.endswith(".dist-info"))}
    suffixes = {Path(name).suffix for name in files if name.startswith("edge_mtcnn/")}
    assert suffixes <= {
        ".py",
        ".typed",
        ".json",
        ".md",
        ".onnx",
        ".weights",
        ".jpg",
        ".css",
        ".html",
        ".js",
        ".svg",
        ".service",
        ".default",
    }


def test_the_metadata_names_version_licence_and_needs(built: Built) -> None:
    from edge_mtcnn._version import __version__

    metadata = built.metadata()
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["Description-Content-Type"] == "text/markdown"
    needs = [need for need in metadata.get_all("Requires-Dist", []) if "extra ==" not in need]
    assert {need.split(">")[0] for need in needs} == BASE_INSTALL - {"edge-mtcnn"}
    assert {"cpu", "gpu"} <= set(metadata.get_all("Provides-Extra", []))


def test_the_sdist_builds_the_same_wheel(built: Built, tmp_path: Path) -> None:
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    (again,) = build(source, tmp_path / "dist", "--wheel").iterdir()
    assert again.name == built.wheel.name
    assert contents(again) == built.wheel_files()


def test_the_base_install_adds_only_numpy_and_opencv_and_says_what_is_missing(
    built: Built, tmp_path: Path
) -> None:
    environment = Environment.create(sys.executable, tmp_path)
    environment.pip("install", "--quiet", built.wheel)
    assert environment.distributions() == BASE_INSTALL

    done = environment.run("python", "-c", DETECT_SAMPLE)
    assert done.returncode != 0
    message = done.stderr.strip().splitlines()[-1]
    assert "MissingRuntimeError" in message
    assert "edge-mtcnn[cpu]" in message
    assert "edge-mtcnn[gpu]" in message


def test_the_cpu_extra_adds_only_onnx_runtime(installed: Environment) -> None:
    found = installed.distributions()
    assert BASE_INSTALL | {"onnxruntime"} <= found
    assert found <= BASE_INSTALL | ONNX_RUNTIME | OLDER_ONNX_RUNTIME


def test_the_installed_package_finds_the_astronaut(installed: Environment) -> None:
    answer = json.loads(installed.output("python", "-W", "error", "-c", DETECT_SAMPLE))
    assert Path(answer["file"]).is_relative_to(installed.folder)
    assert len(answer["faces"]) == 1
    assert answer["faces"][0]["box"] == pytest.approx(ASTRONAUT_BOX, abs=SAME_FACE_PX)


def test_the_installed_command_says_its_version(installed: Environment) -> None:
    from edge_mtcnn._version import __version__

    assert __version__ in installed.output("edge-mtcnn", "--version")
    assert __version__ in installed.output("python", "-m", "edge_mtcnn", "--version")


def test_the_installed_command_detects_its_sample_without_a_path(installed: Environment) -> None:
    (line,) = installed.output("edge-mtcnn", "detect", "--json", "-").splitlines()
    assert len(json.loads(line)["faces"]) == 1


def test_the_installed_command_prints_the_unit_that_starts_it(installed: Environment) -> None:
    command = installed.folder / "venv" / "bin" / "edge-mtcnn"
    unit = installed.output("edge-mtcnn", "service", "--print-unit")
    assert f"ExecStart={command} serve" in unit


DETECT = ("detect", "--json", "-")
SPEC = """
analysis = Analysis(["application.py"])
pyz = PYZ(analysis.pure)
EXE(pyz, analysis.scripts, analysis.binaries, analysis.datas, name="one_file")
program = EXE(pyz, analysis.scripts, exclude_binaries=True, name="one_dir")
COLLECT(program, analysis.binaries, analysis.datas, name="one_dir")
"""
APPLICATION = """
import multiprocessing, sys
from edge_mtcnn import FaceDetector, read_image
from edge_mtcnn.cli import main

if __name__ == "__main__":
    multiprocessing.freeze_support()
    if sys.argv[1] == "spawn":
        with FaceDetector() as detector, multiprocessing.get_context("spawn").Pool(1) as pool:
            sys.exit(f"{len(pool.apply(detector.detect, (read_image(sys.argv[2]),)))} face")
    sys.exit(main())
"""


@pytest.mark.timeout(900)  # it packs 270 MB
def test_pyinstaller_freezes_models_sample_and_commands(built: Built, tmp_path: Path) -> None:
    if sys.platform == "linux" and shutil.which("objdump") is None:
        pytest.skip("PyInstaller needs objdump, of the package binutils")
    environment = Environment.create(sys.executable, tmp_path)
    environment.pip("install", "--quiet", f"{built.wheel}[cpu]", "pyinstaller>=6.10")
    work = tmp_path / "work"
    (work / "application.py").write_text(APPLICATION)
    (work / "application.spec").write_text(SPEC)
    environment.output("pyinstaller", "--log-level=WARN", "application.spec")
    (tmp_path / "elsewhere").mkdir()

    one_file, one_dir = work / "dist" / "one_file", work / "dist" / "one_dir" / "one_dir"
    for program in (one_file, one_dir):
        (line,) = checked([program, *DETECT], tmp_path / "elsewhere").splitlines()
        assert len(json.loads(line)["faces"]) == 1
    report = json.loads(checked([one_dir, "doctor", "--json"], tmp_path / "elsewhere"))
    assert report["findings"] == []
    assert report["self_test"]["told"]["expected_face"] is True
    # A process of its own pool starts the program again.
    done = run([one_dir, "spawn", ROOT / "samples" / "astronaut.jpg"], tmp_path / "elsewhere")
    assert done.stderr.strip().splitlines()[-1] == "1 face"


@pytest.mark.timeout(900)  # it packs 270 MB
def test_a_shiv_archive_finds_its_models_and_its_sample(built: Built, tmp_path: Path) -> None:
    environment = Environment.create(sys.executable, tmp_path)
    environment.pip("install", "--quiet", "pip", "setuptools", "shiv>=1")
    archive = tmp_path / "work" / "edge-mtcnn.pyz"
    environment.output(
        "shiv", "--quiet", "-c", "edge-mtcnn", "-o", str(archive), f"{built.wheel}[cpu]"
    )
    root = f"SHIV_ROOT={tmp_path}"  # where it unpacks
    (line,) = checked(["env", root, sys.executable, archive, *DETECT], tmp_path).splitlines()
    assert len(json.loads(line)["faces"]) == 1


def test_an_editable_install_imports_the_checkout_and_its_version(tmp_path: Path) -> None:
    environment = Environment.create(sys.executable, tmp_path)
    environment.pip("install", "--quiet", "--no-deps", "--editable", ROOT)
    where = "import importlib.util; print(importlib.util.find_spec('edge_mtcnn').origin)"
    origin = Path(environment.output("python", "-c", where).strip())
    assert origin == ROOT / "edge_mtcnn" / "__init__.py"
