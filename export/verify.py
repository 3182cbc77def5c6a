"""Compares Keras, the plain tf2onnx model and every runtime form, per network and per output.

Inputs are real: levels of an image pyramid for P-Net (odd and even sides, single and batched) and
windows of many sizes for R-Net and O-Net, all cut from the project's sample photos. Probabilities,
offsets and landmarks may differ from Keras by 1e-5. Raw logits reach tens, where the spacing of
float32 is 4e-6, so they are compared as probabilities.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from export.convert import convert
from export.graph import FEATURES, output_name, output_shapes
from export.networks import NETWORKS, PIXEL_MEAN, PIXEL_SCALE, Network, build_keras
from export.reading import LANDMARK_ORDER
from export.weights import load_weights

if TYPE_CHECKING:
    import keras

TOLERANCE = 1e-5  # such a difference changes the verdict on one of some ten thousand windows
PHOTOS = ("astronaut.jpg", "grace_hopper.jpg", "coffee.jpg")
WINDOW_SIDES = (20, 41, 80, 133, 210)  # source pixels
WINDOWS_PER_SIDE = 12

FloatArray = NDArray[np.float32]
Outputs = dict[str, FloatArray]
"""By head: probability (M,), offsets (M, 4), landmarks (M, 10); and features (M, 256)."""
Run = Callable[[FloatArray], Outputs]  # from pixels (N, H, W, 3) 0..255


def verify(models: Path, build: Path, samples: Path) -> bool:
    """Print the largest absolute differences from Keras; return whether all are in tolerance."""
    manifest = json.loads((models / "manifest.json").read_text())
    weights = load_weights()
    print(f"{'network':8}{'output':13}{'model':10}{'values':>9}{'largest difference':>20}")
    good = True
    for name, network in NETWORKS.items():
        model = build_keras(network, weights[name])
        path = build / f"{name}.tf2onnx.onnx"
        convert(network, model, path)
        runs = {"tf2onnx": _run_tf2onnx(network, path)}
        for form, entry in manifest["networks"][name]["forms"].items():
            _check_file(models, entry)
            for data in entry["data"]:
                _check_file(models, data)
            runs[form] = run_form(network, models / entry["file"])
        good &= _compare(network, _run_keras(network, model), runs, list(inputs(network, samples)))
    print(f"all within {TOLERANCE:g}" if good else f"FAILED: differences above {TOLERANCE:g}")
    return good


def _compare(
    network: Network, expected: Run, runs: dict[str, Run], batches: list[FloatArray]
) -> bool:
    references = [expected(batch) for batch in batches]
    good = True
    for model, run in runs.items():
        results = [run(batch) for batch in batches]
        for head in (head for head in references[0] if head in results[0]):
            # Shapes must agree exactly: broadcasting would hide a transposed map.
            for result, reference in zip(results, references, strict=True):
                if result[head].shape != reference[head].shape:
                    raise ValueError(
                        f"{network.title} {model} {head}: shape {result[head].shape}, "
                        f"Keras has {reference[head].shape}"
                    )
            differences = [
                float(np.abs(result[head] - reference[head]).max())
                for result, reference in zip(results, references, strict=True)
            ]
            values = sum(reference[head].size for reference in references)
            largest = max(differences)
            within = largest <= TOLERANCE  # false for NaN as well
            good &= within
            mark = "" if within else "  <-- too large"
            print(f"{network.title:8}{head:13}{model:10}{values:9d}{largest:20.1e}{mark}")
    return good


def inputs(network: Network, samples: Path) -> Iterator[FloatArray]:
    """Yield batches of real pixels for a network, (N, H, W, 3) float32 RGB 0..255."""
    photos = []
    for name in PHOTOS:
        photo = cv2.imread(str(samples / name), cv2.IMREAD_COLOR)
        if photo is None:
            raise FileNotFoundError(f"verify needs the sample photo {samples / name}")
        photos.append(cv2.cvtColor(photo, cv2.COLOR_BGR2RGB))
    yield from _levels(photos) if network.dense is None else _windows(photos, network.window)


def _levels(photos: list[NDArray[Any]]) -> Iterator[FloatArray]:
    """Pyramid levels of each photo from 0.6 down, then batches of two in all parities of sides."""
    for photo in photos:
        height, width = photo.shape[:2]
        scale = 0.6
        while min(height, width) * scale >= 12:
            size = int(np.ceil(width * scale)), int(np.ceil(height * scale))
            yield cv2.resize(photo, size, interpolation=cv2.INTER_AREA)[None].astype(np.float32)
            scale *= 0.709
    for rows in (12, 13, 70, 71):
        for columns in (12, 13, 90, 91):
            crops = [photos[0][60 : 60 + rows, 180 : 180 + columns], photos[1][:rows, :columns]]
            yield np.stack(crops).astype(np.float32)


def _windows(photos: list[NDArray[Any]], window: int) -> Iterator[FloatArray]:
    """One batch of windows per photo, on a coarse grid at several sizes, faces among them."""
    for photo in photos:
        height, width = photo.shape[:2]
        crops = []
        for side in WINDOW_SIDES:
            for place in range(WINDOWS_PER_SIDE):
                # A fixed irrational walk covers the photo evenly without a random generator.
                top = int((0.1 + place * 0.618034) % 1 * (height - side))
                left = int((0.3 + place * 0.414214) % 1 * (width - side))
                crop = photo[top : top + side, left : left + side].astype(np.float32)
                crops.append(cv2.resize(crop, (window, window), interpolation=cv2.INTER_AREA))
        yield np.stack(crops)


def _check_file(folder: Path, entry: dict[str, Any]) -> None:
    digest = hashlib.sha256((folder / entry["file"]).read_bytes()).hexdigest()
    if digest != entry["sha256"]:
        raise ValueError(f"{entry['file']} is not the file of the manifest; run python -m export")


def _published(pixels: FloatArray) -> FloatArray:
    """Pixels as the published networks take them: normalised, (N, width, height, 3)."""
    return (
        ((pixels - PIXEL_MEAN) * np.float32(PIXEL_SCALE)).transpose(0, 2, 1, 3).astype(np.float32)
    )


def _common(network: Network, outputs: Outputs) -> Outputs:
    """Bring published outputs into the runtime's order: maps by row, landmarks interleaved."""
    common = {}
    for head, value in outputs.items():
        rows = value
        if network.dense is None:
            rows = value.transpose(0, 2, 1, 3).reshape(-1, value.shape[-1])
        if head == "probability":
            common[head] = rows[:, 1]
        else:
            common[head] = rows[:, LANDMARK_ORDER] if head == "landmarks" else rows
    return common


def _run_keras(network: Network, model: keras.Model) -> Run:
    import keras

    hidden = network.features and keras.Model(model.input, model.get_layer("dense_prelu").output)

    def run(pixels: FloatArray) -> Outputs:
        outputs = dict(model(_published(pixels), training=False))
        if hidden:
            outputs[FEATURES] = hidden(_published(pixels), training=False)
        return _common(network, {head: np.asarray(value) for head, value in outputs.items()})

    return run


def _run_tf2onnx(network: Network, path: Path) -> Run:
    session = _session(path)
    heads = list(network.heads)

    def run(pixels: FloatArray) -> Outputs:
        values = session.run(heads, {"image": _published(pixels)})
        return _common(network, dict(zip(heads, values, strict=True)))

    return run


def run_form(network: Network, path: Path) -> Run:
    """Open a runtime form and return a function from pixels to outputs by head."""
    names = list(output_shapes(network))
    session = _session(path)

    def run(pixels: FloatArray) -> Outputs:
        count, height = pixels.shape[:2]
        outputs = session.run(names, {"pixels": pixels.reshape(count, 1, height, -1)})
        by_name = dict(zip(names, outputs, strict=True))
        value = by_name.pop(output_name(network))
        if value.ndim == 4:
            value = value.transpose(0, 2, 3, 1).reshape(-1, value.shape[1])
        probability = 1 / (1 + np.exp(-value[:, 0]))
        heads = {"probability": probability, "offsets": value[:, 1:5], "landmarks": value[:, 5:]}
        return {**heads, **by_name}

    return run


def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
