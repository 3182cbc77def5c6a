"""Calibration files as ``edge-mtcnn calibrate`` writes them, in short."""

from __future__ import annotations

import json
from pathlib import Path

from edge_mtcnn import DetectorOptions
from edge_mtcnn.calibration import SCHEMA, SCHEMA_VERSION


def write_calibration(file: Path, threshold: float, options: DetectorOptions | None = None) -> Path:
    """Write a threshold, and the options that it was found with where they are given."""
    content = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "threshold": threshold,
        "provenance": {} if options is None else {"detector_options": options.to_dict()},
    }
    file.write_text(json.dumps(content))
    return file
