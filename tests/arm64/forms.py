"""Runs each network in each form, for ``emulated.py`` to count the instructions of one run.

Runs in the arm64 root, with the installed wheel. Before and after the runs that count, ``getppid``
is called, which nothing else calls. Prints what was run, in order, as JSON.
"""

from __future__ import annotations

import json
import os

import numpy as np

from edge_mtcnn.runtime.models import load_manifest
from edge_mtcnn.runtime.sessions import open_networks

SHAPES = {"pnet": (1, 240, 320), "rnet": (32, 24, 24), "onet": (8, 48, 48)}
"""Images, height and width of a typical run: a level of the pyramid, a batch of windows."""


def main() -> None:
    """Run each network once to warm up, then once between two marks."""
    manifest = load_manifest()
    counted = []
    for form in manifest.forms:
        networks = open_networks(manifest.models(form), "cpu")
        for name, (count, height, width) in SHAPES.items():
            pixels = np.random.default_rng(0).uniform(0, 255, (count, 1, height, 3 * width))
            network, pixels = getattr(networks, name), pixels.astype(np.float32)
            network(pixels)
            os.getppid()
            network(pixels)
            os.getppid()
            counted.append((name, form))
    print(json.dumps(counted))


if __name__ == "__main__":
    main()
