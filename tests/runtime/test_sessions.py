"""ONNX Runtime sessions: which provider really runs, and errors that say what to do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest

from edge_mtcnn import FaceDetector, ProviderError, RuntimeOptions
from edge_mtcnn.runtime import devices, providers
from edge_mtcnn.runtime.models import load_manifest
from edge_mtcnn.runtime.providers import (
    available_providers,
    keeps_channels_in_blocks,
    preferred_form,
    runtime_version,
)
from edge_mtcnn.runtime.sessions import open_networks
from edge_mtcnn.types import Faces, ImageArray

ROOT = Path(__file__).resolve().parents[2]
CPU = "CPUExecutionProvider"

# The two forms of a network add in another order: logits differ by a few 1e-6, boxes by a few 1e-4
# pixels, where no candidate is so close to another's score or to a threshold that it changes sides.
BOX = 0.01
SCORE = 1e-4

takes_memory = pytest.mark.skipif(
    not hasattr(onnxruntime.SessionOptions, "add_external_initializers_from_files_in_memory"),
    reason="this ONNX Runtime takes weights from files only",
)
no_cuda = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
    reason="this ONNX Runtime has CUDA compiled in",
)


@pytest.fixture(scope="module")
def photo(sample_path: Callable[[str], Path]) -> ImageArray:
    image: ImageArray = cv2.cvtColor(
        cv2.imread(str(sample_path("grace_hopper"))), cv2.COLOR_BGR2RGB
    )
    return image


def assert_same_faces(ours: Faces, theirs: Faces) -> None:
    assert len(ours) == len(theirs) > 0
    np.testing.assert_allclose(ours.boxes, theirs.boxes, rtol=0, atol=BOX)
    np.testing.assert_allclose(ours.landmarks, theirs.landmarks, rtol=0, atol=BOX)
    np.testing.assert_allclose(ours.confidences, theirs.confidences, rtol=0, atol=SCORE)


def run_without_onnxruntime(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process in which ``import onnxruntime`` fails as if it were not installed."""
    block = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'onnxruntime':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
    )
    return subprocess.run(
        [sys.executable, "-c", block + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_version_and_the_providers_are_those_of_onnxruntime() -> None:
    assert runtime_version() == onnxruntime.__version__
    assert available_providers() == tuple(onnxruntime.get_available_providers())
    assert CPU in available_providers()


@pytest.mark.parametrize("device", ["cpu", (CPU,)])
def test_networks_open_and_tell_their_provider(device: Any) -> None:
    networks = open_networks(load_manifest().models("plain"), device)
    for network in networks[:3]:
        assert network.providers == (CPU,)


@pytest.mark.parametrize("form", ["plain", "blocked"])
def test_networks_have_the_outputs_that_the_stages_expect(form: str) -> None:
    networks = open_networks(load_manifest().models(form), "cpu")
    pixels = np.zeros((1, 1, 30, 3 * 41), dtype=np.float32)
    assert networks.pnet(pixels).shape == (1, 5, 10, 16)
    for count in (1, 3, 32):
        assert networks.rnet(np.zeros((count, 1, 24, 72), dtype=np.float32)).shape == (count, 5)
        assert networks.onet(np.zeros((count, 1, 48, 144), dtype=np.float32)).shape == (count, 15)


def test_networks_are_named_and_distinct() -> None:
    networks = open_networks(load_manifest().models("plain"), "cpu")
    assert networks._fields[:3] == ("pnet", "rnet", "onet")
    assert len({id(network) for network in networks[:3]}) == 3


@no_cuda
@pytest.mark.parametrize("device", ["cuda", ("CUDAExecutionProvider", CPU)])
def test_cuda_on_a_build_without_it_is_an_error_that_lists_what_there_is(device: Any) -> None:
    with pytest.raises(ProviderError) as caught:
        FaceDetector(runtime=RuntimeOptions(device=device))
    message = str(caught.value)
    assert "CUDAExecutionProvider" in message
    for provider in available_providers():
        assert provider in message
    assert "edge-mtcnn[gpu]" in message
    assert "auto" in message


@pytest.fixture
def broken_cuda(monkeypatch: pytest.MonkeyPatch) -> str:
    """A build with CUDA on a machine without its libraries; what is missing."""
    missing = "libcublasLt.so.13: cannot open shared object file"
    for module in (providers, devices):
        monkeypatch.setattr(module, "available_providers", lambda: ("CUDAExecutionProvider", CPU))
        monkeypatch.setattr(module, "why_not", lambda name: None if name == CPU else missing)
    return missing


def test_auto_runs_on_the_processor_as_fast_as_without_cuda_and_says_why(
    broken_cuda: str, photo: ImageArray
) -> None:
    with pytest.warns(UserWarning, match=broken_cuda) as told:
        detector = FaceDetector(runtime=RuntimeOptions(device="auto", threads=2))
    with detector:
        assert detector.info()["providers"] == [CPU]
        assert detector.info()["form"] == preferred_form(("plain", "blocked"), "cpu")
        assert len(detector.detect(photo)) == 1
    assert len(told) == 1
    assert "onnxruntime-gpu[cuda,cudnn]" in str(told[0].message)


def test_a_named_device_that_does_not_start_is_an_error_with_the_reason(broken_cuda: str) -> None:
    with pytest.raises(ProviderError, match=broken_cuda) as caught:
        FaceDetector(runtime=RuntimeOptions(device="cuda"))
    assert "onnxruntime-gpu[cuda,cudnn]" in str(caught.value)
    assert CPU in str(caught.value)


@pytest.mark.parametrize(
    ("missing", "device", "advice"),
    [
        ("libcuda.so.1: cannot open shared object file", "cuda", "NVIDIA's driver is missing"),
        ("libcublasLt.so.13: cannot open shared object file", "cuda", "[cuda,cudnn]"),
        ("libnvinfer.so.10: cannot open shared object file", "tensorrt", "TensorRT's libraries"),
        ("libcublas.so.13: cannot open shared object file", "tensorrt", "[cuda,cudnn]"),
        ("no such device", ("DmlExecutionProvider",), "Check its driver"),
    ],
)
def test_the_advice_is_about_what_is_missing(
    missing: str, device: Any, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("CUDAExecutionProvider", "TensorrtExecutionProvider", "DmlExecutionProvider", CPU)
    monkeypatch.setattr(providers, "available_providers", lambda: names)
    monkeypatch.setattr(providers, "why_not", lambda name: None if name == CPU else missing)
    with pytest.raises(ProviderError) as caught:
        FaceDetector(runtime=RuntimeOptions(device=device))
    assert advice in str(caught.value)
    assert missing in str(caught.value)


@pytest.mark.parametrize("provider", available_providers())
def test_a_provider_starts_or_has_a_reason_in_one_line(
    provider: str, capfd: pytest.CaptureFixture[str]
) -> None:
    providers.why_not.cache_clear()
    reason = providers.why_not(provider)
    assert reason is None or (reason and "\n" not in reason)
    if provider == CPU:
        assert reason is None
    assert capfd.readouterr() == ("", "")


def test_an_unknown_provider_is_an_error_that_lists_what_there_is() -> None:
    with pytest.raises(ProviderError) as caught:
        FaceDetector(runtime=RuntimeOptions(device=("WarpDriveExecutionProvider", CPU)))
    message = str(caught.value)
    assert "WarpDriveExecutionProvider" in message
    for provider in available_providers():
        assert provider in message


def test_an_explicit_provider_runs() -> None:
    with FaceDetector(runtime=RuntimeOptions(device=(CPU,))) as detector:
        assert detector.info()["providers"] == [CPU]


def test_auto_starts_something_and_finds_the_same_face(photo: ImageArray) -> None:
    with (
        FaceDetector(preset="reference", runtime=RuntimeOptions(device="auto")) as wish,
        FaceDetector(preset="reference", runtime=RuntimeOptions(form="plain")) as plain,
    ):
        assert wish.info()["providers"][0] in available_providers()
        assert_same_faces(wish.detect(photo), plain.detect(photo))


@pytest.mark.parametrize("preset", ["reference", "default"])
@pytest.mark.parametrize("name", ["astronaut", "grace_hopper"])
def test_both_forms_find_the_same_faces(
    preset: str, name: str, sample_path: Callable[[str], Path]
) -> None:
    image = cv2.cvtColor(cv2.imread(str(sample_path(name))), cv2.COLOR_BGR2RGB)
    with (
        FaceDetector(preset=preset, runtime=RuntimeOptions(form="plain")) as plain,
        FaceDetector(preset=preset, runtime=RuntimeOptions(form="blocked")) as blocked,
    ):
        assert plain.info()["form"] == "plain"
        assert blocked.info()["form"] == "blocked"
        assert_same_faces(blocked.detect(image), plain.detect(image))


@pytest.mark.parametrize(
    ("blocks", "device", "form"),
    [
        (True, "cpu", "blocked"),
        (True, (CPU,), "blocked"),
        (False, "cpu", "plain"),
        (False, (CPU,), "plain"),
        (True, "cuda", "plain"),
        (True, ("CUDAExecutionProvider?device_id=0", CPU), "plain"),
    ],
)
def test_the_form_suits_what_this_onnx_runtime_does(
    blocks: bool, device: Any, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(providers, "keeps_channels_in_blocks", lambda: blocks)
    assert preferred_form(("plain", "blocked"), device) == form


@pytest.mark.parametrize("network", ["pnet", "rnet", "onet"])
def test_the_answer_about_blocks_is_what_onnx_runtime_does_with_the_networks(
    network: str, tmp_path: Path
) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    model = load_manifest().models("blocked")[network]
    onnxruntime.InferenceSession(str(model.path), options, providers=[CPU])
    keeps_channels_in_blocks.cache_clear()
    inside = b"ReorderOutput" in (tmp_path / "optimised.onnx").read_bytes()
    assert inside == keeps_channels_in_blocks()


def test_a_build_without_blocks_is_told_from_one_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What differs in such a build is that the last step of the optimisation is left out.
    class Without(onnxruntime.SessionOptions):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED

    monkeypatch.setattr(onnxruntime, "SessionOptions", Without)
    keeps_channels_in_blocks.cache_clear()
    assert not keeps_channels_in_blocks()
    keeps_channels_in_blocks.cache_clear()


@pytest.mark.parametrize(("machine", "blocks"), [("AMD64", True), ("aarch64", False)])
def test_without_a_place_for_a_file_the_processor_decides(
    machine: str, blocks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("tempfile.tempdir", "/nowhere/at/all")
    keeps_channels_in_blocks.cache_clear()
    assert keeps_channels_in_blocks() is blocks
    keeps_channels_in_blocks.cache_clear()


def test_a_form_that_is_not_there_is_replaced_by_the_first() -> None:
    assert preferred_form(("only",), "cpu") == "only"


@takes_memory
def test_onnx_runtime_gets_the_bytes_that_were_checked(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    shutil.copytree(load_manifest().folder, folder)
    models = load_manifest(folder).models("plain")
    shutil.rmtree(folder)
    ours = open_networks(models, "cpu")
    theirs = open_networks(load_manifest().models("plain"), "cpu")
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 1, 48, 144)).astype(np.float32)
    np.testing.assert_array_equal(ours.onet(pixels), theirs.onet(pixels))


@pytest.mark.skipif(
    tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 26),
    reason="this ONNX Runtime crashes at import without /proc",
)
def test_the_face_is_found_without_proc() -> None:
    # As in a chroot or a sandbox. ONNX Runtime warns that it does not know the processor.
    hidden = "mount -t tmpfs tmpfs /proc && test ! -e /proc/self"
    unshare = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, hidden]).returncode:
        pytest.skip("this system does not let a test hide /proc")
    done = subprocess.run(
        [*unshare, f"{hidden} && exec '{sys.executable}' -m edge_mtcnn doctor --json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    report = json.loads(done.stdout)
    assert report["findings"] == [], done.stderr
    assert report["self_test"]["told"]["expected_face"] is True


def test_sessions_say_nothing_and_start_no_threads(photo: ImageArray) -> None:
    # One-thread sessions; the process's own threads are counted where the system shows them.
    code = (
        "import os\n"
        "import numpy, cv2\n"
        "from edge_mtcnn.runtime.sessions import open_networks\n"
        "from edge_mtcnn.runtime.models import load_manifest\n"
        "import onnxruntime\n"
        "def threads():\n"
        "    return len(os.listdir('/proc/self/task')) if os.path.isdir('/proc/self/task') else 0\n"
        "before = threads()\n"
        "networks = open_networks(load_manifest().models('plain'), 'cpu')\n"
        "networks.rnet(numpy.zeros((4, 1, 24, 72), dtype=numpy.float32))\n"
        "assert threads() == before, (before, threads())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_detection_leaves_nothing_in_the_home_folder(tmp_path: Path) -> None:
    code = (
        "import numpy\n"
        "from edge_mtcnn import FaceDetector\n"
        "print(len(FaceDetector().detect(numpy.zeros((60, 60, 3), dtype=numpy.uint8))))\n"
    )
    home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    elsewhere = ("XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in elsewhere} | home,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")
    assert list(tmp_path.rglob("*")) == []


def test_without_onnxruntime_the_error_names_the_three_choices() -> None:
    done = run_without_onnxruntime(
        "from edge_mtcnn import FaceDetector, MissingRuntimeError\n"
        "try:\n"
        "    FaceDetector()\n"
        "except MissingRuntimeError as error:\n"
        "    print(error)\n"
    )
    assert done.returncode == 0, done.stderr
    assert "edge-mtcnn[cpu]" in done.stdout
    assert "edge-mtcnn[gpu]" in done.stdout
    assert "Jetson" in done.stdout
    assert done.stdout.count("\n") == 1


def test_without_onnxruntime_the_error_is_an_import_error_for_every_use() -> None:
    done = run_without_onnxruntime(
        "from edge_mtcnn import MTCNN, MissingRuntimeError, RuntimeOptions\n"
        "from edge_mtcnn.runtime.sessions import available_providers, runtime_version\n"
        "uses = (MTCNN, lambda: MTCNN(runtime=RuntimeOptions(device='auto')),\n"
        "        available_providers, runtime_version)\n"
        "for use in uses:\n"
        "    try:\n"
        "        use()\n"
        "    except ImportError as error:\n"
        "        print(type(error).__name__)\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["MissingRuntimeError"] * 4


def test_without_onnxruntime_everything_else_works() -> None:
    done = run_without_onnxruntime(
        "import edge_mtcnn\n"
        "from edge_mtcnn import DetectorOptions, Faces\n"
        "from edge_mtcnn.runtime.models import load_manifest\n"
        "load_manifest().models('plain')\n"
        "print(len(Faces.empty((5, 5))), DetectorOptions().min_face_size)\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0 20\n"
