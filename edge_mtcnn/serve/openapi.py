"""The description of the service at ``/openapi.json``, OpenAPI 3.1.

``openapi.json`` beside this file describes a service with a token. Every status that a route can
answer is declared there; a test asks the running service.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_mtcnn._version import __version__
from edge_mtcnn.serve.options import ServeOptions

__all__ = ["document"]


def document(options: ServeOptions) -> dict[str, Any]:
    """Fill in the version, the limits, and whether a token is needed.

    Args:
        options: options of the service.
    """
    text = Path(__file__).with_name("openapi.json").read_text(encoding="utf-8")
    whole: dict[str, Any] = json.loads(text)
    whole["info"]["version"] = __version__
    detect = whole["paths"]["/detect"]["post"]
    detect["summary"] = detect["summary"].format(**asdict(options))
    if options.token is None:
        del whole["security"], whole["components"]["securitySchemes"]
        for path in whole["paths"].values():
            for operation in path.values():
                operation["responses"].pop("401", None)
    return whole
