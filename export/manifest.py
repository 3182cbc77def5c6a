"""Writes ``models/``: every form of every network, the constants they share, and ``manifest.json``.

The runtime trusts the manifest: the file of each form, its SHA-256 and size, and the meaning of
input and output. A further form, such as float16, is one more key under ``forms``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from export.blocked import build_blocked
from export.graph import (
    FEATURES,
    IR_VERSION,
    OPSET,
    GraphWriter,
    finish,
    input_shape,
    output_name,
    output_shapes,
    share,
)
from export.networks import Network
from export.plain import build_plain
from export.reading import Trained
from export.weights import DISTRIBUTION, VERSION, WEIGHTS_PATH, WEIGHTS_SHA256

SCORE_MODEL = Path(__file__).resolve().parents[1] / "models" / "score.json"
"""Fitted by ``export/score.py``, not converted, so it is listed in the manifest unchanged."""

REAL_FACES = SCORE_MODEL.with_name("known.json")
"""Measured by ``export/known.py``, and listed in the manifest unchanged too."""

SCHEMA_VERSION = 1
MODEL_VERSION = "1.1.0"
LICENCE = "MIT"
SOURCE = f"{DISTRIBUTION} {VERSION} (Python package index), {WEIGHTS_PATH}"

INPUT_MEANING = (
    "float32 rows of interleaved RGB pixels, 0..255, upright and not normalised: "
    "the memory of an (N, H, W, 3) image seen as (N, 1, H, 3 W)"
)
CHANNELS = (
    "axis 1: logit of face minus logit of not-face (its sigmoid is the probability of a face), "
    "then dx1, dy1, dx2, dy2: the moves of left, top, right and bottom edge "
    "as fractions of the window's width and height"
)
CELLS = (
    "; cell (row r, column c) describes the 12 x 12 window at rows 2r..2r+11, columns 2c..2c+11; "
    "on an odd side the last window reaches one pixel over the edge"
)
LANDMARKS = (
    ", then x1, y1, ..., x5, y5: left eye, right eye, nose, left and right corner of the mouth "
    "as the viewer sees them, as fractions of the window from its top left corner"
)

FEATURES_MEANING = (
    "values of the hidden dense layer, from which the numbers of the other output are computed; "
    "what the network knows of the window"
)


def output_meaning(network: Network) -> str:
    """Describe the 5 or 15 numbers of one cell or window."""
    if network.dense is None:
        return CHANNELS + CELLS
    return CHANNELS + (LANDMARKS if "landmarks" in network.heads else "")


def model_file(network: Network, form: str) -> str:
    """File name of a form; the plain one needs no qualifier."""
    return f"{network.name}.onnx" if form == "plain" else f"{network.name}.{form}.onnx"


def write_models(networks: Mapping[str, Trained], folder: Path, single: Path) -> None:
    """Write all model files and the manifest, replacing the old ones.

    Args:
        networks: what was trained.
        folder: of the models that the package contains.
        single: folder of the files with the whole cascade, which it does not contain.
    """
    from export.single.command import write_shipped

    folder.mkdir(parents=True, exist_ok=True)
    entries = {name: _write_network(trained, folder) for name, trained in networks.items()}
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "model_version": MODEL_VERSION,
        "license": LICENCE,
        "source": {"description": SOURCE, "sha256": WEIGHTS_SHA256},
        "networks": entries,
        "score": _write(folder / SCORE_MODEL.name, SCORE_MODEL.read_bytes()),
        "known": _write(folder / REAL_FACES.name, REAL_FACES.read_bytes()),
        "single": write_shipped(single, folder),
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (folder / "manifest.json").write_bytes(text.encode())


def _write_network(trained: Trained, folder: Path) -> dict[str, object]:
    network = trained.network
    forms: dict[str, GraphWriter] = {
        "plain": build_plain(trained),
        "blocked": build_blocked(trained),
    }
    shared, data = share(list(forms.values()), f"{network.name}.weights")
    external = [_write(folder / f"{network.name}.weights", data)] if shared else []
    described = {}
    for form, writer in forms.items():
        content = finish(writer, network, _metadata(network, form), shared)
        described[form] = {
            **_write(folder / model_file(network, form), content),
            "opset": OPSET,
            "ir_version": IR_VERSION,
            "data": external,
        }
    shapes = output_shapes(network)
    name = output_name(network)
    entry: dict[str, object] = {
        "title": network.title,
        "window": network.window,
        "input": _tensor("pixels", input_shape(network), INPUT_MEANING),
        "output": _tensor(name, shapes[name], output_meaning(network)),
    }
    if FEATURES in shapes:
        entry["features"] = _tensor(FEATURES, shapes[FEATURES], FEATURES_MEANING)
    return {**entry, "forms": described}


def _tensor(name: str, shape: list[int | str], meaning: str) -> dict[str, object]:
    return {"name": name, "dtype": "float32", "shape": shape, "meaning": meaning}


def _metadata(network: Network, form: str) -> dict[str, str]:
    return {
        "network": network.title,
        "form": form,
        "version": MODEL_VERSION,
        "license": LICENCE,
        "source": SOURCE,
        "source_sha256": WEIGHTS_SHA256,
        "input": INPUT_MEANING,
        "output": output_meaning(network),
    }


def _write(path: Path, content: bytes) -> dict[str, object]:
    path.write_bytes(content)
    return {"file": path.name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
