"""COCO JSON: ``images``, ``annotations`` with ``bbox`` ``x, y, w, h``, and optional ``keypoints``.

Crowds (``iscrowd``) are ignored faces. Keypoints are used as landmarks if there are five, or if the
category names eyes, nose and mouth corners among more, and if all five are labelled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_mtcnn.errors import shown
from edge_mtcnn.thresholds.labels.images import AnnotationError, LabelledImage, numbers, read_text
from edge_mtcnn.types import LANDMARK_NAMES, FloatArray

__all__ = ["read_coco"]


def read_coco(file: Path, images: Path, category: str | None = None) -> list[LabelledImage]:
    """Read the faces of COCO: of ``category``, else of the only category or of that called face."""
    content = _content(file)
    chosen = _category(file, content, category)
    order = _keypoint_order(content, chosen)
    faces: dict[Any, list[tuple[list[float], bool, FloatArray]]] = {}
    known = set()
    for index, entry in enumerate(content["images"]):
        where = f"{file}: images[{index}]"
        name = _get(where, entry, "file_name")
        if not isinstance(name, str) or not name:
            raise AnnotationError(f"{where}: file_name must be a path; got {shown(name)}")
        identity = _identity(where, entry, "id")
        if identity in known:
            raise AnnotationError(f"{where}: the id {shown(identity)} occurs twice")
        known.add(identity)
    for index, entry in enumerate(content["annotations"]):
        where = f"{file}: annotations[{index}]"
        image = _identity(where, entry, "image_id")
        if image not in known:
            raise AnnotationError(f"{where}: there is no image with the id {shown(image)}")
        if chosen is None or entry.get("category_id", chosen) == chosen:
            ignored = bool(entry.get("iscrowd", 0)) or bool(entry.get("ignore", 0))
            points = _points(where, entry.get("keypoints"), order)
            faces.setdefault(image, []).append((_box(where, entry), ignored, points))
    return [_image(entry, images, faces.get(entry["id"], [])) for entry in content["images"]]


def _image(
    entry: Mapping[str, Any], images: Path, faces: Sequence[tuple[list[float], bool, FloatArray]]
) -> LabelledImage:
    height, width = entry.get("height"), entry.get("width")
    return LabelledImage.of_boxes(
        images / entry["file_name"],
        entry["file_name"],
        [box for box, _, _ in faces],
        [ignored for _, ignored, _ in faces],
        np.array([points for _, _, points in faces], dtype=np.float64).reshape(-1, 5, 2),
        size=(height, width) if isinstance(height, int) and isinstance(width, int) else None,
    )


def _content(file: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(read_text(file))
    except json.JSONDecodeError as error:
        raise AnnotationError(f"{file}:{error.lineno}: not valid JSON: {error.msg}") from None
    for name in ("images", "annotations"):
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise AnnotationError(
                f"{file} is not a COCO file: it needs the lists images and annotations"
            )
        for index, entry in enumerate(content[name]):
            if not isinstance(entry, dict):
                raise AnnotationError(
                    f"{file}: {name}[{index}] must be an object; got {shown(entry)}"
                )
    return content


def _category(file: Path, content: Mapping[str, Any], wanted: str | None) -> Any:
    """The id of the category of the faces; ``None`` if the file has no categories."""
    given = content.get("categories") or []
    names = {
        entry["id"]: str(entry.get("name", entry["id"]))
        for entry in given
        if isinstance(entry, dict) and "id" in entry
    }
    if wanted is not None:
        for identity, name in names.items():
            if wanted in {name, str(identity)}:
                return identity
        raise AnnotationError(
            f"{file}: there is no category {shown(wanted)}; there are {', '.join(names.values())}"
        )
    if len(names) <= 1:
        return next(iter(names), None)
    for identity, name in names.items():
        if name.lower() == "face":
            return identity
    raise AnnotationError(
        f"{file}: which category are the faces? choose one of {', '.join(names.values())}"
    )


def _keypoint_order(content: Mapping[str, Any], chosen: Any) -> list[int] | None:
    """Places of the five landmarks among the keypoints; ``None`` if the category lacks one."""
    entries = [
        entry
        for entry in content.get("categories") or []
        if isinstance(entry, dict) and entry.get("id") == chosen
    ]
    names = entries[0].get("keypoints") if entries else None
    if not isinstance(names, list) or not names:
        return list(range(len(LANDMARK_NAMES)))
    plain = [set(str(name).lower().replace("-", "_").split("_")) for name in names]
    order = []
    for ours in LANDMARK_NAMES:
        places = [place for place, theirs in enumerate(plain) if set(ours.split("_")) <= theirs]
        if len(places) != 1:
            return None
        order.append(places[0])
    return order


def _points(where: str, keypoints: object, order: list[int] | None) -> FloatArray:
    """(5, 2) landmarks; NaN unless all five are labelled."""
    nowhere = np.full((5, 2), np.nan)
    if not keypoints or order is None:
        return nowhere
    if not isinstance(keypoints, list) or len(keypoints) % 3:
        raise AnnotationError(
            f"{where}: keypoints must be x, y, v for each point; got {shown(keypoints)}"
        )
    triples = np.array(numbers(where, "keypoints", keypoints)).reshape(-1, 3)
    if len(triples) <= max(order) or not triples[order, 2].all():
        return nowhere
    points: FloatArray = triples[order, :2]
    return points


def _box(where: str, entry: Mapping[str, Any]) -> list[float]:
    box = _get(where, entry, "bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise AnnotationError(f"{where}: bbox must be x, y, width, height; got {shown(box)}")
    values = numbers(where, "bbox", box)
    if min(values[2:]) < 0:
        raise AnnotationError(f"{where}: width and height must not be below 0; got {shown(box)}")
    return values


def _identity(where: str, entry: Mapping[str, Any], name: str) -> int | str:
    value = _get(where, entry, name)
    if not isinstance(value, (int, str)):
        raise AnnotationError(f"{where}: {name} must be a number or text; got {shown(value)}")
    return value


def _get(where: str, entry: Mapping[str, Any], name: str) -> Any:
    if name not in entry:
        raise AnnotationError(f"{where} has no {name}")
    return entry[name]
