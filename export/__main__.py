"""``python -m export`` writes ``models/``; with ``verify`` it compares every form with Keras.

Run from the repository root, in the environment that ``make models`` creates.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    parser.add_argument("command", nargs="?", choices=["models", "verify"], default="models")
    parser.add_argument(
        "--models", type=Path, default=ROOT / "models", help="folder of the runtime models"
    )
    parser.add_argument(
        "--build",
        type=Path,
        default=ROOT / "build" / "export",
        help="folder of the plain tf2onnx models",
    )
    parser.add_argument("--samples", type=Path, default=ROOT / "samples", help="photos for verify")
    options = parser.parse_args(arguments)

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    # Imported here so that --help answers at once; both load TensorFlow.
    if options.command == "verify":
        from export.verify import verify

        return 0 if verify(options.models, options.build, options.samples) else 1
    export(options.models, options.build)
    return 0


def export(models: Path, build: Path) -> None:
    """Convert the published weights and write every runtime form to ``models``."""
    from export.convert import convert
    from export.manifest import write_models
    from export.networks import NETWORKS, build_keras
    from export.reading import read
    from export.weights import load_weights

    weights = load_weights()
    trained = {}
    for name, network in NETWORKS.items():
        model = build_keras(network, weights[name])
        trained[name] = read(network, convert(network, model, build / f"{name}.tf2onnx.onnx"))
    write_models(trained, models)


if __name__ == "__main__":
    sys.exit(main())
