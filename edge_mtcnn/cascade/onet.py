"""Stage 3 of the cascade: O-Net decides, places the landmarks, and checks them in the mirror."""

from __future__ import annotations

import numpy as np

from edge_mtcnn.cascade.boxes import nms, regress, square
from edge_mtcnn.cascade.candidates import Candidates, Found
from edge_mtcnn.cascade.networks import Map, Network, probability
from edge_mtcnn.cascade.pyramid import Sampler
from edge_mtcnn.cascade.windows import WindowSpec, window_outputs
from edge_mtcnn.types import Float32Array, FloatArray

__all__ = ["ONET", "ONET_FEATURES", "finish", "look_again"]

ONET = WindowSpec(size=48, outputs=15, batch=(2, 8))
ONET_FEATURES = ONET._replace(outputs=15 + 256)
"""O-Net with its hidden layer, the features, after its own numbers."""
TIGHT, MIRROR_TIGHT = 0.9, 0.8
"""Sides of the windows of the mirror check, as a share of the found box; chosen on annotated
photos."""
LEAST_TILT = np.radians(10)
"""Tilt of a head from which on its windows are turned upright."""
_MIRRORED_LANDMARKS = (1, 0, 2, 4, 3)
"""Index of each landmark in the mirror: left and right change places."""


def finish(
    candidates: Candidates,
    sampler: Sampler,
    onet: Network,
    threshold: float,
    overlap: float,
    run: Map,
    *,
    spec: WindowSpec = ONET,
) -> Found:
    """Stage 3: O-Net on each candidate's window, landmarks, regression, NMS by the smaller area.

    Args:
        candidates: what R-Net kept.
        sampler: makes the pixels of the windows.
        onet: (n, 1, 48, 144) float32 pixels to (n, 15), or to (n, 271) with the features.
        threshold: probability that a face must exceed.
        overlap: intersection over the smaller area above which NMS drops a face.
        run: shares batches of windows among threads.
        spec: of ``onet``: ``ONET`` or ``ONET_FEATURES``, perhaps for a device.

    Returns:
        The faces, best first.
    """
    output = window_outputs(candidates.boxes, sampler, onet, spec, run)
    scores = probability(output[:, 0])
    passed = np.flatnonzero(scores > threshold)
    windows, scores, output = candidates.boxes[passed], scores[passed], output[passed]
    boxes = regress(windows, output[:, 1:5])
    kept = nms(boxes, scores, overlap, "min")
    return Found(
        boxes=boxes[kept],
        scores=scores[kept],
        logits=output[kept, 0],
        landmarks=_landmarks(windows[kept], output[kept]),
        features=output[kept, ONET.outputs :],
    )


def look_again(
    found: Found,
    sampler: Sampler,
    onet: Network,
    run: Map,
    *,
    spec: WindowSpec = ONET_FEATURES,
) -> list[Found]:
    """The mirror check: O-Net reads each face twice more, once in the mirror.

    A face is still a face in the mirror and in a tighter window; what only resembles one often is
    not. The authors' MATLAB code averages mirrored landmarks too. Both windows are taken from the
    finished box: it is placed better than R-Net's, and tighter windows improve the landmarks. They
    are turned if the first landmarks show a tilted head: the networks know upright faces best.

    Args:
        found: what ``finish`` returned.
        sampler: makes the pixels of the windows.
        onet: (n, 1, 48, 144) float32 pixels to (n, 271), with the features.
        run: shares batches of windows among threads.
        spec: ``ONET_FEATURES``, perhaps for a device.

    Returns:
        Two readings of the same faces: logits, landmarks and features of the tight window, and
        those of the mirrored window, with the landmarks mirrored back.
    """
    boxes = square(found.boxes)
    windows = np.concatenate([_scaled(boxes, TIGHT), _scaled(boxes, MIRROR_TIGHT)])
    in_mirror = np.arange(len(windows)) >= len(boxes)
    tilts = np.tile(_tilts(found.landmarks), 2)
    output = window_outputs(windows, sampler, onet, spec, run, in_mirror, tilts)
    seen = output[in_mirror, 5:15].reshape(-1, 5, 2)[:, _MIRRORED_LANDMARKS]
    seen[:, :, 0] = 1 - seen[:, :, 0]
    output[in_mirror, 5:15] = seen.reshape(-1, 10)
    landmarks = _turned(_landmarks(windows, output), windows, tilts)
    return [
        found._replace(
            logits=output[rows, 0],
            landmarks=landmarks[rows],
            features=output[rows, ONET.outputs :],
        )
        for rows in (~in_mirror, in_mirror)
    ]


def _landmarks(windows: FloatArray, output: Float32Array) -> FloatArray:
    """Convert O-Net's landmarks from fractions of the windows to source pixels, (N, 5, 2)."""
    sides = windows[:, 2:] - windows[:, :2] + 1
    return windows[:, None, :2] + sides[:, None] * output[:, 5:15].reshape(-1, 5, 2) - 1


def _tilts(landmarks: FloatArray) -> FloatArray:
    """Clockwise tilt of each head, (N,) radians, from its landmarks; 0 if it is small."""
    left_eye, right_eye, _, left_mouth, right_mouth = landmarks.transpose(1, 0, 2)
    across = right_eye - left_eye
    down = (left_mouth + right_mouth - left_eye - right_eye) / 2
    tilts: FloatArray = np.arctan2(across[:, 1] - down[:, 0], across[:, 0] + down[:, 1])
    return np.where(np.abs(tilts) < LEAST_TILT, 0.0, tilts)


def _turned(landmarks: FloatArray, windows: FloatArray, tilts: FloatArray) -> FloatArray:
    """Landmarks (N, 5, 2) in turned windows, turned back about the centres of the windows."""
    if not tilts.any():
        return landmarks
    centres = (windows[:, None, :2] + windows[:, None, 2:] - 1) / 2
    cosine, sine = np.cos(tilts), np.sin(tilts)
    rotation = np.array([[cosine, sine], [-sine, cosine]]).transpose(2, 0, 1)
    turned: FloatArray = np.where(
        tilts[:, None, None], (landmarks - centres) @ rotation + centres, landmarks
    )
    return turned


def _scaled(boxes: FloatArray, factor: float) -> FloatArray:
    """Scale boxes around their centres; the results are whole numbers."""
    centres = np.tile((boxes[:, :2] + boxes[:, 2:]) / 2, 2)
    return np.trunc(centres + (boxes - centres) * factor)
