"""Results as plain values for JSON, the same from the command line and from the service."""

from __future__ import annotations

from typing import Any

from edge_mtcnn.types import Face, Faces

__all__ = ["face_entry", "faces_entry"]


def face_entry(face: Face) -> dict[str, Any]:
    """A face for JSON: as ``Face.to_dict``, and ``score`` where it differs from ``confidence``."""
    entry = face.to_dict()
    entry["keypoints"] = {name: list(point) for name, point in entry["keypoints"].items()}
    if face.score != face.confidence:
        entry["score"] = face.score
    return entry


def faces_entry(faces: Faces) -> dict[str, Any]:
    """The faces of one image for JSON: ``width``, ``height``, and ``faces``, best first."""
    height, width = faces.image_size
    return {"width": width, "height": height, "faces": [face_entry(face) for face in faces]}
