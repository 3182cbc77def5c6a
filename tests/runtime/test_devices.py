"""Networks on a device: few shapes, equal faces, and what happens when it fails.

A processor stands for the device where there is none: it gets the same shapes through the same
buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as ort

from edge_mtcnn import FaceDetector, ProviderError, RuntimeOptions
from edge_mtcnn.cascade.fixed_canvases import edge_sizes, fixed_layout
from edge_mtcnn.cascade.pyramid import pyramid_scales
from edge_mtcnn.runtime import devices, providers, sessions
from edge_mtcnn.runtime.fixed import BATCHES, CANVAS_SIZES, FixedNetwork
from edge_mtcnn.runtime.models import load_manifest
from edge_mtcnn.runtime.providers import CPU, CUDA, Provider
from edge_mtcnn.runtime.sessions import SessionNetworks, open_networks
from edge_mtcnn.types import Faces, ImageArray

MOST_SHAPES = 12
SAME = 1e-5
"""Scores of the same pixels, in batches of another size: the last bits may differ."""
Reader = Callable[[str], Path]


@pytest.fixture
def as_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor gets few shapes, as a device does."""
    monkeypatch.setattr(sessions, "processor_as_device", True)


def read(file: Path) -> ImageArray:
    image: ImageArray = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
    return image


def by_place(faces: Faces) -> Faces:
    return faces[np.lexsort(faces.boxes.T)]


def assert_same_faces(ours: Faces, theirs: Faces) -> None:
    assert len(ours) == len(theirs)
    ours, theirs = by_place(ours), by_place(theirs)
    np.testing.assert_allclose(ours.scores, theirs.scores, rtol=0, atol=SAME)
    np.testing.assert_allclose(ours.boxes, theirs.boxes, rtol=0, atol=0.01)


@pytest.mark.parametrize("preset", ["default", "reference"])
def test_few_shapes_find_the_faces_that_fitting_shapes_find(
    preset: str, sample_path: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = FaceDetector(preset=preset, runtime=RuntimeOptions(form="plain"))
    monkeypatch.setattr(sessions, "processor_as_device", True)
    fixed = FaceDetector(preset=preset, runtime=RuntimeOptions(form="plain"))
    with plain, fixed:
        found = 0
        for name in ("astronaut", "grace_hopper"):
            whole = read(sample_path(name))
            for image in (whole, cv2.resize(whole, (641, 903))):
                theirs = plain.detect(image)
                assert_same_faces(fixed.detect(image), theirs)
                found += len(theirs)
        assert found >= 4
        shapes = fixed._networks.shapes  # type: ignore[union-attr]
        assert 3 < sum(map(len, shapes.values())) <= MOST_SHAPES
        assert plain._networks.shapes == {"pnet": [], "rnet": [], "onet": []}  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["default", "reference"])
def test_few_shapes_find_the_same_faces_in_photos(
    preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.common.images import DATA, photo_pool

    if not DATA.is_dir():
        pytest.skip("needs the photos beside the project")
    plain = FaceDetector(preset=preset, runtime=RuntimeOptions(form="plain"))
    monkeypatch.setattr(sessions, "processor_as_device", True)
    fixed = FaceDetector(preset=preset, runtime=RuntimeOptions(form="plain"))
    with plain, fixed:
        found = 0
        for file in photo_pool()[::4]:
            theirs = plain.detect(file)
            assert_same_faces(fixed.detect(file), theirs)
            found += len(theirs)
        assert found > 5


def test_200_sizes_of_frames_need_at_most_12_shapes() -> None:
    random = np.random.default_rng(11)
    seen: set[tuple[int, int]] = set()
    for _ in range(200):
        height, width = random.integers(40, 2200, 2).tolist()
        scales = pyramid_scales(height, width, int(random.choice([12, 20, 40, 80])), 0.709, None)
        # Odd sides, which only resampling="area" has, need two shapes more.
        shapes = tuple((-int(-height * s // 1), -int(-width * s // 1)) for s in scales)
        seen |= {(c.height, c.width) for c in fixed_layout(shapes, CANVAS_SIZES)}
    assert seen == {*CANVAS_SIZES, *edge_sizes(CANVAS_SIZES)}
    assert len(seen) + len(BATCHES["rnet"]) + len(BATCHES["onet"]) <= MOST_SHAPES


@pytest.mark.usefixtures("as_device")
def test_onnx_runtime_sees_no_other_shapes_whatever_comes(sample_path: Reader) -> None:
    image = read(sample_path("astronaut"))
    random = np.random.default_rng(5)
    with FaceDetector(preset="reference", runtime=RuntimeOptions(form="plain")) as detector:
        for _ in range(12):
            height, width = random.integers(40, 420, 2).tolist()
            detector.detect(image[:height, :width])
        shapes = detector._networks.shapes  # type: ignore[union-attr]
        sizes = {*CANVAS_SIZES, *edge_sizes(CANVAS_SIZES)}
        assert set(shapes["pnet"]) <= {(1, 1, height, 3 * width) for height, width in sizes}
        assert len(shapes["pnet"]) >= 3
        assert set(shapes["rnet"]) <= {(count, 1, 24, 72) for count in BATCHES["rnet"]}
        assert set(shapes["onet"]) <= {(count, 1, 48, 144) for count in BATCHES["onet"]}


@pytest.mark.usefixtures("as_device")
def test_a_warm_up_runs_all_batches() -> None:
    with FaceDetector(runtime=RuntimeOptions(form="plain")) as detector:
        detector.warm_up(120, 160)
        shapes = detector._networks.shapes  # type: ignore[union-attr]
        assert len(shapes["rnet"]) == len(BATCHES["rnet"])
        assert len(shapes["onet"]) == len(BATCHES["onet"])
        assert len(shapes["pnet"]) == 1


@pytest.fixture
def fixed(as_device: None) -> SessionNetworks:
    return open_networks(load_manifest().models("plain"), "cpu")


@pytest.mark.parametrize("count", [1, 8, 9, 64, 65, 200])
def test_a_filled_batch_gives_what_its_windows_give_alone(
    count: int, fixed: SessionNetworks
) -> None:
    pixels = np.random.default_rng(count).uniform(0, 255, (count, 1, 48, 144)).astype(np.float32)
    plain = open_networks_plainly()
    for ours, theirs in (
        (fixed.onet(pixels), plain.onet(pixels)),
        (fixed.onet_features(pixels), plain.onet_features(pixels)),
    ):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
    assert len(fixed.shapes["onet"]) <= len(BATCHES["onet"])


def open_networks_plainly() -> SessionNetworks:
    sessions.processor_as_device = False
    return open_networks(load_manifest().models("plain"), "cpu")


def test_outputs_stay_when_the_buffers_are_used_again(fixed: SessionNetworks) -> None:
    random = np.random.default_rng(1)
    first, second = random.uniform(0, 255, (2, 32, 1, 24, 72)).astype(np.float32)
    kept = fixed.rnet(first)
    before = kept.copy()
    fixed.rnet(second)
    np.testing.assert_array_equal(kept, before)


def test_whole_numbers_are_made_floats_on_the_device(fixed: SessionNetworks) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (1, 1, 40, 150), dtype=np.uint8)
    network: Any = fixed.pnet
    np.testing.assert_array_equal(network(pixels), fixed.pnet(pixels.astype(np.float32)))


DEATHS = [
    ort.EPFail("CUDA failure 2: out of memory ; GPU=0"),
    ort.DeviceReset("device removed"),
    ort.RuntimeException("Failed to allocate memory for requested buffer of size 77070336"),
]


def dying(networks: SessionNetworks, death: Exception) -> SessionNetworks:
    """The networks, of which R-Net's session fails."""

    class Dead:
        def __init__(self, session: Any) -> None:
            self._session = session

        def __getattr__(self, name: str) -> Any:
            return getattr(self._session, name)

        def run_with_iobinding(self, *_: Any) -> None:
            raise death

    network = networks.rnet
    assert isinstance(network, FixedNetwork)
    network._session = Dead(network._session)
    network._bindings.clear()
    return networks


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: type(death).__name__)
def test_a_device_that_fails_is_one_error_with_the_reason(
    death: Exception, sample_path: Reader, as_device: None
) -> None:
    with FaceDetector(runtime=RuntimeOptions(form="plain")) as detector:
        dying(detector._networks, death)  # type: ignore[arg-type]
        with pytest.raises(ProviderError, match="failed while a network ran") as caught:
            detector.detect(sample_path("astronaut"))
    assert str(death) in str(caught.value)
    assert caught.value.__cause__ is death


def timed(seconds: dict[Any, float]) -> Any:
    """``devices._timed`` with a time for a device and one for the processor."""

    def run(network: Any, pixels: Any) -> tuple[float, Any]:
        sizes = CANVAS_SIZES if isinstance(network, FixedNetwork) else ()
        return seconds[sizes], network(pixels)

    return run


@pytest.fixture
def automatic(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaceDetector]:
    """``device="auto"`` with a device: a second set of the processor's networks."""
    monkeypatch.setattr(devices, "AUTOMATIC", ("StrangeExecutionProvider",))
    monkeypatch.setattr(devices, "available_providers", lambda: ("StrangeExecutionProvider", CPU))
    monkeypatch.setattr(devices, "why_not", lambda name: None)  # noqa: ARG005
    opened = open_networks

    def opening(models: Any, device: Any, threads: int) -> SessionNetworks:
        monkeypatch.setattr(sessions, "processor_as_device", device != "cpu")
        return opened(models, "cpu", threads)

    monkeypatch.setattr(devices, "open_networks", opening)
    monkeypatch.setattr(devices, "_timed", timed({CANVAS_SIZES: 1.0, (): 2.0}))
    with FaceDetector(runtime=RuntimeOptions(device="auto", threads=2)) as detector:
        yield detector


def test_auto_takes_a_device_that_computes_what_the_processor_does(
    automatic: FaceDetector, recwarn: pytest.WarningsRecorder
) -> None:
    assert automatic._networks.canvas_sizes == CANVAS_SIZES  # type: ignore[union-attr]
    assert automatic.info()["form"] == "plain"
    assert not recwarn


def test_when_it_fails_the_processor_goes_on_and_says_so_once(
    automatic: FaceDetector, sample_path: Reader
) -> None:
    image = read(sample_path("astronaut"))
    expected = automatic.detect(image)
    dying(automatic._networks._networks, DEATHS[0])  # type: ignore[union-attr]
    with pytest.warns(UserWarning, match=r"the processor goes on: .*out of memory") as told:
        results = automatic.detect_batch([image] * 4)
    assert len(told) == 1
    assert automatic._networks.canvas_sizes == ()  # type: ignore[union-attr]
    for faces in (*results, automatic.detect(image)):
        assert len(faces) == len(expected) == 1
        # The processor's form of the networks adds in another order.
        np.testing.assert_allclose(faces.boxes, expected.boxes, rtol=0, atol=0.01)
    assert len(told) == 1


def test_auto_does_not_take_a_device_that_computes_something_else(
    monkeypatch: pytest.MonkeyPatch, fixed: SessionNetworks
) -> None:
    plain = open_networks_plainly()
    devices._is_faster(fixed, plain)
    right = fixed.rnet.__class__.__call__
    monkeypatch.setattr(
        FixedNetwork, "__call__", lambda self, pixels: right(self, pixels) + np.float32(0.008)
    )
    with pytest.raises(ProviderError, match=r"differs there by 0\.008"):
        devices._is_faster(fixed, plain)


def test_auto_does_not_take_a_device_that_computes_nothing(
    monkeypatch: pytest.MonkeyPatch, fixed: SessionNetworks
) -> None:
    right = fixed.rnet.__class__.__call__
    monkeypatch.setattr(
        FixedNetwork, "__call__", lambda self, pixels: right(self, pixels) * np.float32("nan")
    )
    with pytest.raises(ProviderError, match="differs there by nan"):
        devices._is_faster(fixed, open_networks_plainly())


def test_auto_does_not_take_a_device_that_is_slower_than_one_thread(
    monkeypatch: pytest.MonkeyPatch, fixed: SessionNetworks
) -> None:
    plain = open_networks_plainly()
    monkeypatch.setattr(devices, "_timed", timed({CANVAS_SIZES: 3.0, (): 2.0}))
    assert not devices._is_faster(fixed, plain)
    monkeypatch.setattr(devices, "_timed", timed({CANVAS_SIZES: 1.0, (): 2.0}))
    assert devices._is_faster(fixed, plain)


def test_options_of_a_provider_reach_onnx_runtime_over_the_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(providers, "available_providers", lambda: (CUDA, CPU))
    monkeypatch.setattr(providers, "why_not", lambda name: None)  # noqa: ARG005
    runtime = RuntimeOptions(device=((CUDA, {"use_tf32": True, "device_id": 1}), CPU))
    cuda, cpu = providers.chosen_providers(runtime.device)
    assert cuda == Provider(
        CUDA,
        {
            "cudnn_conv_algo_search": "HEURISTIC",
            "arena_extend_strategy": "kSameAsRequested",
            "use_tf32": "1",
            "device_id": "1",
        },
    )
    assert cpu == Provider(CPU)


def test_an_option_that_onnx_runtime_does_not_know_is_a_provider_error() -> None:
    others = [name for name in providers.available_providers() if name != CPU]
    options = {"warp_factor": "9"}
    for name in others:
        if providers.why_not(name) is None and name != "AzureExecutionProvider":
            with pytest.raises(ProviderError, match="warp_factor"):
                open_networks(load_manifest().models("plain"), (f"{name}?warp_factor=9",))
            return

    class Refusing:  # no device is here
        __version__ = "1.16.0"

        class SessionOptions:
            def add_session_config_entry(self, *_: str) -> None: ...

        @staticmethod
        def InferenceSession(*_: Any, **__: Any) -> Any:  # noqa: N802
            raise ort.Fail('Unknown provider option: "warp_factor"')

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions, "onnx_runtime", lambda: Refusing)
        with pytest.raises(ProviderError, match=r'warp_factor".*warp_factor=9.*may not know'):
            sessions._session(b"", [Provider(CUDA, options)])
