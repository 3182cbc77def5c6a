"""The description of the service at ``/openapi.json``, OpenAPI 3.1.

``openapi.json`` is written by hand and declares every status that a route can answer; a test asks
the running service. This module fills in the version, the limits and whether a token is needed.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from edge_mtcnn._version import __version__
from edge_mtcnn.options import DetectorOptions
from edge_mtcnn.serve.options import ServeOptions

__all__ = ["document"]


def document(options: ServeOptions, detector: DetectorOptions | None = None) -> dict[str, Any]:
    """The whole document.

    Args:
        options: the limits to describe, and whether clients need a token.
        detector: options of the detector, which limit the sizes that clients may ask for.
    """
    text = files("edge_mtcnn.serve").joinpath("openapi.json").read_text(encoding="utf-8")
    whole: dict[str, Any] = json.loads(text)
    whole["info"]["version"] = __version__
    detect = whole["paths"]["/detect"]["post"]
    detect["description"] = detect["description"].format(
        max_body_bytes=options.max_body_bytes,
        max_images=options.max_images,
        max_pixels=options.max_pixels,
        detect_seconds=options.detect_seconds,
    )
    sizes = detector or DetectorOptions()
    for parameter in detect["parameters"]:
        if parameter["name"] in {"min_face_size", "max_face_size"}:
            parameter["schema"]["minimum"] = sizes.min_face_size
        if parameter["name"] == "max_face_size" and sizes.max_face_size is not None:
            parameter["schema"]["maximum"] = sizes.max_face_size
    # The file states each refusal once; readers of the document find it at every route.
    shared = whole["components"].pop("responses")
    for operation in (op for path in whole["paths"].values() for op in path.values()):
        responses = operation["responses"]
        for status, response in responses.items():
            if "$ref" in response:
                responses[status] = shared[response["$ref"].rpartition("/")[2]]
        if options.token is None:
            responses.pop("401", None)
    if options.token is None:
        del whole["security"], whole["components"]["securitySchemes"]
    return whole
