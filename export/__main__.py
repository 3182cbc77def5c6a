"""``python -m export`` writes ``models/``; with ``verify`` it compares every form with Keras.

Both run from the repository root, in the environment that ``make models`` creates.
``python -m export score DATA`` fits the score model, and ``python -m export known DATA`` measures
what real faces are like, ``python -m export single`` writes the whole cascade as one file, and
``python -m export verify-single`` compares such a file with ``FaceDetector``, ``python -m export
quantise PHOTOS`` writes int8 and float16 sets, all in the ordinary environment.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

from export.weights import WeightsError

ROOT = Path(__file__).resolve().parents[1]
EXPORT_PACKAGES = {"keras", "onnx", "tensorflow", "tf2onnx"}
"""Packages of the environment that ``make models`` creates."""


OWN_ARGUMENTS = {
    "score": "score",
    "known": "known",
    "single": "single.command",
    "verify-single": "single.verify",
    "quantise": "quantise",
}
"""Commands with arguments of their own, and their modules."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit code: 0 done, 1 a form differs, 2 cannot run."""
    given = sys.argv[1:] if arguments is None else arguments
    if given and given[0] in OWN_ARGUMENTS:
        # They import the package instead of TensorFlow.
        command = importlib.import_module(f"export.{OWN_ARGUMENTS[given[0]]}")
        return int(command.main(given[1:]))
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=["models", "verify", *OWN_ARGUMENTS],
        default="models",
        help="what to do (models); 'score --help' lists the arguments of score, and so on",
    )
    parser.add_argument(
        "--models",
        type=Path,
        default=ROOT / "models",
        metavar="DIR",
        help="folder of the runtime models (models/)",
    )
    parser.add_argument(
        "--build",
        type=Path,
        default=ROOT / "build" / "export",
        metavar="DIR",
        help="folder of the plain tf2onnx models (build/export/)",
    )
    parser.add_argument(
        "--samples",
        type=Path,
        default=ROOT / "samples",
        metavar="DIR",
        help="folder of the photos for verify (samples/)",
    )
    options = parser.parse_args(given)
    if options.command in OWN_ARGUMENTS:
        parser.error(f"{options.command} comes first: python -m export {options.command} ...")

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    try:
        if options.command == "verify":
            # Imported here so that --help answers at once; both commands load TensorFlow.
            from export.verify import verify

            return 0 if verify(options.models, options.build, options.samples) else 1
        export(options.models, options.build)
    except WeightsError as error:
        return _cannot_run(str(error))
    except ModuleNotFoundError as error:
        if error.name not in EXPORT_PACKAGES:
            raise
        hint = "'make models' creates the environment that has it"
        return _cannot_run(f"{error.name} is not installed; {hint}")
    return 0


def _cannot_run(reason: str) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return 2


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
    write_models(trained, models, build.parent / "single")


if __name__ == "__main__":
    sys.exit(main())
