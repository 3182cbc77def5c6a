"""Write the networks in smaller number formats, to measure what that wins and loses.

Each set is a folder of models for ``RuntimeOptions(models=...)``. None is part of the package:
``models/MODEL_CARD.md`` has what was measured. int8 is static and per channel; its ranges come from
what the networks get while the detector searches photos.

    python -m export quantise ../shared/data/wider ../shared/data/landmarks
    python -m benchmarks.accuracy --models build/sets/int8 --preset default --wider-settings

Needs ``onnx`` beside ONNX Runtime, but no TensorFlow.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import cv2
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    quantize_static,
)
from onnxruntime.transformers.float16 import convert_float_to_float16

from edge_mtcnn.cascade.networks import Network
from edge_mtcnn.cascade.search import Search
from edge_mtcnn.errors import ImageError
from edge_mtcnn.images.decoding import read_image
from edge_mtcnn.options import DetectorOptions
from edge_mtcnn.runtime.models import default_folder, load_manifest
from edge_mtcnn.runtime.sessions import open_networks
from edge_mtcnn.types import NETWORKS, Float32Array, ImageArray

PHOTOS = (".jpg", ".jpeg", ".png")
LONGEST_SIDE = 800
"""Larger photos are made smaller: many kinds of windows are needed, not many windows."""
MOST_INPUTS = 300
"""Tiles or batches of windows that calibrate one network, evenly from all photos."""
OPERATORS = ("Conv", "Gemm", "MaxPool")
"""What becomes int8. PReLU stays float32: ONNX Runtime has no int8 PReLU."""
FORM = "plain"
"""The form that the sets are made from, and the only one in them."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the networks of a set are made.

    Attributes:
        about: what it is, in a line.
        int8: layers that become int8 by network, named by how they start, ``""`` for all.
        float16: whether the networks become float16 instead, but for their input and output.
    """

    about: str
    int8: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    float16: bool = False


RECIPES = {
    "float16": Recipe("all float16", float16=True),
    "int8": Recipe("all int8", dict.fromkeys(NETWORKS, ("",))),
    "int8-windows": Recipe("R-Net and O-Net int8", {"rnet": ("",), "onet": ("",)}),
    "int8-inner": Recipe(
        "R-Net and O-Net int8 without their first and last layers",
        {"rnet": ("conv2", "conv3", "dense"), "onet": ("conv2", "conv3", "conv4", "dense")},
    ),
    "int8-dense": Recipe("hidden dense layers int8", {"rnet": ("dense",), "onet": ("dense",)}),
}


def main(arguments: Sequence[str]) -> int:
    """Calibrate, write the sets, and print their sizes; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m export quantise",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photos", nargs="+", type=Path, help="photos, or folders with photos")
    parser.add_argument("--output", type=Path, default=Path("build/sets"), help="(%(default)s)")
    parser.add_argument("--count", type=int, default=200, help="photos to use (%(default)s)")
    parser.add_argument(
        "--sets", nargs="+", choices=RECIPES, default=list(RECIPES), help="(all of them)"
    )
    options = parser.parse_args(arguments)
    if options.count < 1:
        parser.error(f"--count must be at least 1; got {options.count}")
    files = spread(list(photos_in(options.photos)), options.count)
    if not files:
        parser.error(f"no photos ({', '.join(PHOTOS)}) in {', '.join(map(str, options.photos))}")
    inputs = record(read_all(files))
    print(
        f"{len(files)} photos; calibrated with "
        + ", ".join(f"{len(batches)} inputs of {name}" for name, batches in inputs.items())
    )
    print(f"{'set':14}{'bytes':>9}  about")
    print(f"{'(shipped)':14}{_bytes(default_folder()):9}  all float32, both forms")
    for name in options.sets:
        folder = options.output / name
        write_set(folder, RECIPES[name], inputs)
        print(f"{name:14}{_bytes(folder):9}  {RECIPES[name].about}")
    return 0


def photos_in(places: Iterable[Path]) -> Iterator[Path]:
    """Photos among files and in folders, at any depth, in the order of their names."""
    for place in places:
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        yield from (file for file in files if file.suffix.lower() in PHOTOS)


def spread(items: list[Any], count: int) -> list[Any]:
    """At most ``count`` of the items, evenly from all of them."""
    if len(items) <= count:
        return items
    return [items[index * len(items) // count] for index in range(count)]


def read_all(files: Iterable[Path]) -> Iterator[ImageArray]:
    """The photos, none larger than ``LONGEST_SIDE``; those that cannot be read are named."""
    for file in files:
        try:
            photo = read_image(file)
        except ImageError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        scale = LONGEST_SIDE / max(photo.shape)
        if scale < 1:
            photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        yield photo


def record(photos: Iterable[ImageArray]) -> dict[str, list[Float32Array]]:
    """What each network gets while the photos are searched with preset ``default``.

    Returns:
        Inputs by network, (n, 1, height, 3 width) float32 each, at most ``MOST_INPUTS``.
    """
    options = DetectorOptions.from_preset("default")
    networks = open_networks(load_manifest().models(FORM), "cpu")
    seen: dict[str, list[Float32Array]] = {name: [] for name in NETWORKS}

    def recorded(name: str, network: Network) -> Network:
        def run(pixels: Float32Array) -> Float32Array:
            seen[name].append(pixels.copy())
            return network(pixels)

        return run

    recording = _Recording(*(recorded(name, getattr(networks, name)) for name in NETWORKS))
    for photo in photos:
        search = Search(
            lambda photo=photo: photo,  # type: ignore[misc]
            (photo.shape[0], photo.shape[1]),
            options,
            recording,
            lambda function, items: [function(item) for item in items],
            bgr=False,
            score=None,
        )
        search.everywhere()
    return {name: spread(inputs, MOST_INPUTS) for name, inputs in seen.items()}


@dataclass(frozen=True, slots=True)
class _Recording:
    """Networks of the cascade without features, which only the mirror check needs."""

    pnet: Network
    rnet: Network
    onet: Network

    @property
    def canvas_sizes(self) -> tuple[tuple[int, int], ...]:
        """Any."""
        return ()

    @property
    def onet_features(self) -> Network:
        raise NotImplementedError("no mirror check while recording")


def write_set(folder: Path, recipe: Recipe, inputs: Mapping[str, list[Float32Array]]) -> None:
    """Write a folder of models with its manifest, replacing what is there."""
    source = default_folder()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    manifest = json.loads((source / "manifest.json").read_text(encoding="utf-8"))
    for entry in (manifest["score"], manifest["known"]):
        shutil.copy(source / entry["file"], folder)
    for name, network in manifest["networks"].items():
        model = onnx.load(source / network["forms"][FORM]["file"])
        if recipe.float16:
            model = convert_float_to_float16(model, keep_io_types=True)
        elif name in recipe.int8:
            model = int8(model, recipe.int8[name], inputs[name], folder)
        content = model.SerializeToString()
        (folder / f"{name}.onnx").write_bytes(content)
        written = {
            "file": f"{name}.onnx",
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
        }
        network["forms"] = {FORM: written}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2), encoding="utf-8")


def int8(
    model: onnx.ModelProto, layers: tuple[str, ...], inputs: list[Float32Array], folder: Path
) -> onnx.ModelProto:
    """The network with some of its layers in int8: weights signed and per channel, values unsigned.

    Args:
        model: float32.
        layers: how the names of the layers start.
        inputs: what it gets, to find the ranges of its values.
        folder: for a file that is removed again.
    """
    chosen = [node.name for node in model.graph.node if node.op_type in OPERATORS]
    chosen = [name for name in chosen if name.startswith(layers)]
    path = folder / "quantised.onnx"
    logging.disable(logging.WARNING)  # it advises to fold batch normalisation, which is not there
    try:
        quantize_static(
            model,
            path,
            _Inputs(model.graph.input[0].name, inputs),
            op_types_to_quantize=list(OPERATORS),
            nodes_to_quantize=chosen,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
    finally:
        logging.disable(logging.NOTSET)
    quantised = onnx.load(path)
    path.unlink()
    return cast(onnx.ModelProto, quantised)


class _Inputs(CalibrationDataReader):  # type: ignore[misc]
    """Hands out one input after another."""

    def __init__(self, name: str, inputs: Iterable[Float32Array]) -> None:
        self._name = name
        self._left = iter(inputs)

    def get_next(self) -> dict[str, Float32Array] | None:
        pixels = next(self._left, None)
        return None if pixels is None else {self._name: pixels}


def _bytes(folder: Path) -> int:
    """Bytes of the networks in a folder."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.suffix != ".json")
