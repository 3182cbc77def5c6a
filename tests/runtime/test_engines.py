"""The folder of TensorRT's engines: whose they are, what is removed, what ONNX Runtime is told.

TensorRT itself runs nowhere in these tests.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_mtcnn import ProviderError
from edge_mtcnn.runtime import engines, sessions
from edge_mtcnn.runtime.engines import EngineFolder, cache_folder, engine_folder
from edge_mtcnn.runtime.fixed import BATCHES
from edge_mtcnn.runtime.models import Model, load_manifest
from edge_mtcnn.runtime.providers import CPU, TENSORRT, Provider

TRT = Provider(TENSORRT, {"device_id": "0"})


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_MTCNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(engines, "_gpu", lambda device_id: f"NVIDIA Orin {device_id}, 8.7, 540.4")
    monkeypatch.setattr(engines, "_tensorrt_version", lambda: "100300")
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def models() -> Mapping[str, Model]:
    return load_manifest().models("plain")


def test_the_folder_is_named_after_the_gpu_and_tensorrt(
    own_cache: Path, models: Mapping[str, Model]
) -> None:
    folder = engine_folder(models, TRT).path
    assert folder.parent == own_cache / "engines"
    assert folder.name.startswith("NVIDIA-Orin-0-tensorrt-100300-")
    assert folder == engine_folder(models, TRT).path


def test_anything_that_an_engine_depends_on_leads_to_another_folder(
    models: Mapping[str, Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = replace(models["rnet"], data={"rnet.weights": b"other"})
    folders = {
        engine_folder(models, TRT),
        engine_folder({**models, "rnet": changed}, TRT),
        engine_folder(models, Provider(TENSORRT, {"device_id": "1"})),
        engine_folder(models, Provider(TENSORRT, {"device_id": "0", "trt_fp16_enable": "1"})),
    }
    monkeypatch.setattr(engines, "_tensorrt_version", lambda: "100400")
    folders.add(engine_folder(models, TRT))
    monkeypatch.setattr(engines, "runtime_version", lambda: "9.9.9")
    folders.add(engine_folder(models, TRT))
    assert len(folders) == 6


def test_what_is_complete_stays_and_the_rest_is_built_again(tmp_path: Path) -> None:
    folder = EngineFolder(tmp_path / "engines")
    folder.prepare()
    whole, cut, late = (folder.path / name for name in ("a.engine", "b.engine", "c.engine"))
    whole.write_bytes(b"whole")
    cut.write_bytes(b"long engine")
    folder.complete()
    cut.write_bytes(b"long")
    late.write_bytes(b"written when the power failed")
    folder.prepare()
    assert folder.files == [whole]
    folder.complete()
    folder.prepare()
    assert folder.files == [whole]


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b'{"a.engine": 3}', b"\xff"])
def test_a_broken_list_means_that_nothing_is_complete(tmp_path: Path, content: bytes) -> None:
    folder = EngineFolder(tmp_path)
    (tmp_path / "a.engine").write_bytes(b"whole")
    (tmp_path / "complete.json").write_bytes(content)
    folder.prepare()
    assert folder.files == []


def test_a_folder_that_cannot_be_made_is_an_error_that_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ProviderError, match="EDGE_MTCNN_CACHE"):
        EngineFolder(tmp_path / "file" / "engines").prepare()


def test_onnx_runtime_is_told_where_and_the_caller_has_the_last_word(tmp_path: Path) -> None:
    given = Provider(TENSORRT, {"trt_timing_cache_enable": "0", "trt_fp16_enable": "1"})
    told = EngineFolder(tmp_path).provider(given)
    assert told == Provider(
        TENSORRT,
        {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(tmp_path),
            "trt_timing_cache_enable": "0",
            "trt_timing_cache_path": str(tmp_path),
            "trt_fp16_enable": "1",
        },
    )


@pytest.mark.skipif(sys.platform != "linux", reason="the folder of Linux")
@pytest.mark.parametrize(("xdg", "under"), [("", ".cache"), ("/somewhere", "/somewhere")])
def test_without_a_wish_it_is_the_users_cache_folder(
    xdg: str, under: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGE_MTCNN_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    assert cache_folder() == tmp_path / under / "edge-mtcnn"


def test_with_tensorrt_each_shape_has_a_session_of_its_own_and_each_engine_is_noted(
    models: Mapping[str, Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The processor stands for TensorRT; an engine is a file that appears with the session.
    opened: list[tuple[dict[str, int], Mapping[str, str]]] = []
    folder = engine_folder(models, TRT).path
    open_session = sessions._open

    def opening(model: Model, providers: Any, dimensions: Any = None) -> Any:
        if dimensions:
            opened.append((dict(dimensions), providers[0].options))
            (folder / f"{len(opened)}.engine").write_bytes(b"engine")
        return open_session(model, [Provider(CPU)], dimensions or {})

    monkeypatch.setattr(sessions, "_open", opening)
    networks = sessions._on_device(models, [TRT, Provider(CPU)])
    plain = sessions.open_networks(models, "cpu")
    windows = np.random.default_rng(3).uniform(0, 255, (40, 1, 24, 72)).astype(np.float32)
    canvas = np.random.default_rng(3).integers(0, 256, (1, 1, 40, 150), dtype=np.uint8)
    np.testing.assert_allclose(networks.rnet(windows), plain.rnet(windows), rtol=0, atol=1e-4)
    np.testing.assert_allclose(networks.rnet(windows[:9]), plain.rnet(windows[:9]), atol=1e-4)
    networks.rnet(windows)
    floats = canvas.astype(np.float32)
    pnet: Any = networks.pnet
    np.testing.assert_allclose(pnet(canvas), plain.pnet(floats), rtol=0, atol=1e-4)
    small, large = BATCHES["rnet"]
    assert [dimensions for dimensions, _ in opened] == [
        {"batch": large},
        {"batch": small},
        {"batch": 1, "height": 40, "row_values": 150},
    ]
    assert all(told["trt_engine_cache_path"] == str(folder) for _, told in opened)
    assert networks.engines == {"folder": str(folder), "files": 3, "megabytes": 18e-6}
    EngineFolder(folder).prepare()
    assert len(EngineFolder(folder).files) == 3
