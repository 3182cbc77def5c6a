"""Wrong types of every public constructor and function are errors of the package, at the call."""

from __future__ import annotations

import dataclasses
import inspect
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import edge_mtcnn
from edge_mtcnn import EdgeMTCNNError, FaceDetector, calibration, options, serve, thresholds, video
from edge_mtcnn.thresholds.scores import ScoreSet

Values = tuple[Any, ...]
SOMETHING = object()
PATH: Values = (5, 1.5, [], {}, SOMETHING)
TEXT: Values = (5, b"text", [], SOMETHING)
NUMBER: Values = ("5", [], {}, np.zeros(3), SOMETHING, True, float("nan"))
INTEGER: Values = (*NUMBER, 1.5)
FLAG: Values = (5, "yes", [], SOMETHING)
OBJECT: Values = (5, "kiosk", [], {}, np.zeros(3), SOMETHING)
CHOICE: Values = (5, "no such choice", [], {}, np.zeros(3), SOMETHING, None)
FUNCTION: Values = (5, "print", [], SOMETHING)
IMAGE: Values = (5, {}, SOMETHING, None, np.zeros(3), np.zeros((4, 4, 3)))
ARRAY: Values = (5, "text", {}, [["a"]], SOMETHING)
PAIR: Values = (5, "ab", [], (1,), (1, "2"), SOMETHING)
SOURCE: Values = (None, 1.5, b"text", {"a": 1}, SOMETHING, True)
WATCHED: Values = (1.5, b"text", {"a": 1}, SOMETHING, True)


class Call(NamedTuple):
    """A function, arguments that it takes, and for each parameter what it must refuse."""

    function: Callable[..., Any]
    given: Mapping[str, Any]
    refused: Mapping[str, Values]


def fields(kind: Any, **values: Values) -> Call:
    """A class of options: its fields are named here, and nothing has to be given."""
    names = [field.name for field in dataclasses.fields(kind)]
    return Call(kind, {}, {name: values.get(name, NUMBER) for name in names})


PICTURE = np.zeros((40, 40, 3), np.uint8)
FACES = edge_mtcnn.Faces.empty((40, 40))
BOXES = {"boxes": [[1, 2, 3, 4]], "scores": [0.5], "landmarks": np.zeros((1, 5, 2))}
SCORES = ScoreSet(np.array([0.9]), np.array([0.1]))
TARGET = thresholds.Target("fpr", 0.5)
LABELLED = thresholds.LabelledImage(Path("a.jpg"), "a.jpg", None)


@pytest.fixture(scope="module")
def calls(default_detector: FaceDetector, tmp_path_factory: Any) -> Iterator[dict[str, Call]]:
    """Every public function, by the name that a test below shows."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "empty.json").write_text("{}")
    picture = folder / "picture.png"
    edge_mtcnn.write_image(picture, PICTURE)
    with ExitStack() as stack:
        source = stack.enter_context(video.open_source(lambda: iter([PICTURE])))
        watcher = video.FaceWatcher(lambda: iter([PICTURE]), default_detector)
        tracker = video.FaceTracker(default_detector)
        search = default_detector.search(PICTURE)
        reader = watcher.events()
        seen = {
            "image": IMAGE,
            "color": CHOICE,
            "timings": FLAG,
            "timeout": NUMBER,
            "include_known_false": FLAG,
        }
        measured = {
            "detector": OBJECT,
            "images": (5, {}, SOMETHING, ["a.jpg"], [None]),
            "iou": NUMBER,
            "journal": PATH,
            "listener": FUNCTION,
            "notify": FUNCTION,
        }
        measuring = {"detector": default_detector, "images": [LABELLED]}
        yield {
            "FaceDetector": Call(
                FaceDetector,
                {},
                {
                    "options": OBJECT,
                    "runtime": OBJECT,
                    "preset": CHOICE[:-1],
                    "config": PATH,
                    "calibration": PATH,
                    "known_false": (5, SOMETHING, ["a"], [None], "text"),
                },
            ),
            "FaceDetector.detect": Call(
                default_detector.detect, {"image": PICTURE}, {**seen, "options": OBJECT}
            ),
            "FaceDetector.search": Call(
                default_detector.search, {"image": PICTURE}, {**seen, "options": OBJECT}
            ),
            "FaceDetector.detect_batch": Call(
                default_detector.detect_batch,
                {"images": [PICTURE]},
                {
                    "images": (5, None, SOMETHING, [5], [None], PICTURE),
                    "options": OBJECT,
                    "color": CHOICE,
                    "timings": FLAG,
                    "include_known_false": FLAG,
                },
            ),
            "FaceDetector.detect_many": Call(
                default_detector.detect_many,
                {"images": [PICTURE]},
                {
                    "images": (5, None, SOMETHING, PICTURE),
                    "ahead": (*INTEGER, 0, -1),
                    "options": OBJECT,
                    "color": CHOICE,
                    "timings": FLAG,
                    "include_known_false": FLAG,
                },
            ),
            "FaceDetector.remember": Call(
                default_detector.remember,
                {"image": PICTURE, "box": (0, 0, 30, 30), "name": "poster"},
                {
                    "image": IMAGE,
                    "box": ARRAY,
                    "name": (5, None, SOMETHING),
                    "color": CHOICE,
                    "at_place": FLAG,
                    "how": CHOICE,
                    "added": (5, None, SOMETHING),
                },
            ),
            "FaceDetector.warm_up": Call(
                default_detector.warm_up, {}, {"height": INTEGER, "width": INTEGER}
            ),
            "Search.near": Call(
                search.near,
                {"boxes": []},
                {"boxes": ARRAY, "levels": (5, "text", [1.5], SOMETHING)},
            ),
            "Search.quick": Call(search.quick, {"boxes": []}, {"boxes": ARRAY}),
            "Search.everywhere": Call(search.everywhere, {}, {"boxes": ARRAY}),
            "Faces": Call(
                edge_mtcnn.Faces,
                {**BOXES, "image_size": (40, 40)},
                {
                    "boxes": ARRAY,
                    "scores": ARRAY,
                    "landmarks": ARRAY,
                    "confidences": ARRAY,
                    "angles": ARRAY,
                    "known_false": (5, SOMETHING, ["a", "b", "c"], [5], "text"),
                    "image_size": PAIR,
                    "timings": OBJECT,
                },
            ),
            "Faces.empty": Call(
                edge_mtcnn.Faces.empty,
                {"image_size": (4, 4)},
                {"image_size": PAIR, "timings": OBJECT},
            ),
            "DetectorOptions": fields(
                edge_mtcnn.DetectorOptions,
                mirror=FLAG,
                resampling=CHOICE,
                thresholds=OBJECT,
                nms=OBJECT,
                max_cells=OBJECT,
                max_candidates=OBJECT,
                angles=(5, "no such choice", {}, np.zeros(3), SOMETHING, None, ["a"]),
            ),
            "Mounting": fields(edge_mtcnn.Mounting, rotate=CHOICE, flip=CHOICE[:-1]),
            "Mounting.applied": Call(edge_mtcnn.Mounting(rotate=90).applied, {}, {"image": IMAGE}),
            "DetectorOptions.from_preset": Call(
                edge_mtcnn.DetectorOptions.from_preset, {}, {"name": CHOICE}
            ),
            "DetectorOptions.from_dict": Call(
                edge_mtcnn.DetectorOptions.from_dict, {}, {"values": (*TEXT, None, {5: 1})}
            ),
            "RuntimeOptions": fields(
                edge_mtcnn.RuntimeOptions,
                device=CHOICE,
                models=PATH,
                form=TEXT,
            ),
            "RuntimeOptions.from_dict": Call(
                edge_mtcnn.RuntimeOptions.from_dict, {}, {"values": (*TEXT, None, {5: 1})}
            ),
            "load_options": Call(
                options.load_options,
                {"path": folder / "empty.json"},
                {"path": (*PATH, None), "preset": CHOICE},
            ),
            "save_options": Call(
                options.save_options,
                {"path": folder / "a.json"},
                {"path": (*PATH, None), "detector": OBJECT, "runtime": OBJECT},
            ),
            "load_calibration": Call(calibration.load_calibration, {}, {"path": (*PATH, None)}),
            "read_image": Call(
                edge_mtcnn.read_image,
                {"source": picture},
                {"source": (5, None, [], {}, SOMETHING), "max_pixels": (*INTEGER, None)},
            ),
            "decode_image": Call(
                edge_mtcnn.decode_image,
                {"data": picture.read_bytes()},
                {
                    "data": (5, None, [], {}, "a.png", SOMETHING),
                    "name": TEXT,
                    "max_pixels": (*INTEGER, None),
                },
            ),
            "write_image": Call(
                edge_mtcnn.write_image,
                {"path": folder / "b.png", "image": PICTURE},
                {"path": (*PATH, None), "image": IMAGE, "quality": INTEGER},
            ),
            "align_faces": Call(
                edge_mtcnn.align_faces,
                {"image": PICTURE, "faces": FACES},
                {"image": IMAGE, "faces": (*OBJECT, None), "size": INTEGER},
            ),
            "crop_faces": Call(
                edge_mtcnn.crop_faces,
                {"image": PICTURE, "faces": FACES},
                {"image": IMAGE, "faces": (*OBJECT, None), "margin": NUMBER},
            ),
            "draw_faces": Call(
                edge_mtcnn.draw_faces,
                {"image": PICTURE, "faces": FACES},
                {"image": IMAGE, "faces": (*OBJECT, None), "color": OBJECT, "scores": FLAG},
            ),
            "open_source": Call(
                video.open_source, {"spec": [PICTURE]}, {"spec": SOURCE, "options": OBJECT}
            ),
            "Source": Call(
                video.Source,
                {"spec": source._spec, "options": video.SourceOptions()},
                {"spec": (*OBJECT, None), "options": (*OBJECT, None)},
            ),
            "Source.read": Call(source.read, {}, {"timeout": NUMBER}),
            "FaceTracker": Call(
                video.FaceTracker,
                {"detector": default_detector},
                {"detector": (*OBJECT, None), "options": OBJECT},
            ),
            "FaceTracker.update": Call(
                tracker.update,
                {"image": PICTURE},
                {"image": IMAGE, "time": NUMBER, "color": CHOICE, "small": OBJECT},
            ),
            "FaceWatcher": Call(
                video.FaceWatcher,
                {"spec": [PICTURE], "detector": default_detector},
                {
                    "spec": SOURCE,
                    "detector": OBJECT,
                    "options": (*OBJECT, video.PresenceOptions()),
                    "on_frame": FUNCTION,
                    "keep_frame": FLAG,
                },
            ),
            "FaceWatcher.dismiss": Call(watcher.dismiss, {"person": 1}, {"person": INTEGER}),
            "FaceWatcher.wait": Call(
                watcher.wait, {"after": -1}, {"after": (*INTEGER, None), "timeout": NUMBER}
            ),
            "FaceWatcher.events": Call(watcher.events, {}, {"size": INTEGER, "after": INTEGER}),
            "FaceWatcher.add_callback": Call(
                watcher.add_callback, {}, {"function": (*FUNCTION, None)}
            ),
            "FaceWatcher.remove_callback": Call(
                watcher.remove_callback, {}, {"function": (*FUNCTION, None)}
            ),
            "EventReader.get": Call(reader.get, {}, {"timeout": NUMBER}),
            "draw_snapshot": Call(
                video.draw_snapshot,
                {"image": PICTURE, "snapshot": video.Snapshot()},
                {"image": IMAGE, "snapshot": (*OBJECT, None)},
            ),
            "WatchOptions": fields(
                video.WatchOptions, source=OBJECT, tracker=OBJECT, presence=OBJECT, blind=OBJECT
            ),
            "SourceOptions": fields(
                video.SourceOptions,
                pace=CHOICE,
                size=PAIR,
                live=FLAG,
                loop=FLAG,
                rotate=CHOICE,
                flip=CHOICE[:-1],
            ),
            "TrackerOptions": fields(video.TrackerOptions),
            "PresenceOptions": fields(video.PresenceOptions, select=CHOICE, region=OBJECT),
            "BlindOptions": fields(video.BlindOptions),
            "load_watch_options": Call(video.load_watch_options, {}, {"path": (*PATH, None)}),
            "load_serve_options": Call(
                serve.load_serve_options,
                {"path": folder / "empty.json"},
                {"path": (*PATH, None), "token": TEXT},
            ),
            "ServeOptions": fields(
                serve.ServeOptions,
                host=(*TEXT, None),
                token=TEXT,
                hosts=("kiosk.local", 5, [5], SOMETHING),
                origins=("http://kiosk", 5, [5], SOMETHING),
                **{
                    field.name: FLAG
                    for field in dataclasses.fields(serve.ServeOptions)
                    if field.type == "bool"
                },
            ),
            "Service": Call(
                serve.Service,
                {"detector": default_detector},
                {
                    "detector": (*OBJECT, None),
                    "options": OBJECT,
                    "source": WATCHED,
                    "watch_detector": OBJECT,
                    "watch": OBJECT,
                    "calibration": PATH,
                },
            ),
            "ServiceServer": Call(serve.ServiceServer, {}, {"service": (*OBJECT, None)}),
            "listen": Call(
                serve.listen,
                {"host": "127.0.0.1", "port": 0},
                {"host": (*TEXT, None), "port": (*INTEGER, None, 70_000)},
            ),
            "address_of": Call(serve.address_of, {}, {"listener": (*OBJECT, None)}),
            "Target": Call(
                thresholds.Target,
                {"kind": "fpr", "value": 0.5},
                {"kind": CHOICE, "value": (*NUMBER, None), "promised": FLAG},
            ),
            "choose": Call(
                thresholds.choose,
                {"scores": SCORES, "target": TARGET},
                {"scores": (*OBJECT, None), "target": (*OBJECT, None), "confidence": NUMBER},
            ),
            "clopper_pearson": Call(
                thresholds.clopper_pearson,
                {"count": 1, "total": 2},
                {"count": (*INTEGER, None), "total": (*INTEGER, None), "confidence": NUMBER},
            ),
            "average_precision": Call(
                thresholds.average_precision,
                {"detections": [], "ground_truth": [], "counted": []},
                {
                    "detections": (5, ["a"], [5], SOMETHING, None),
                    "ground_truth": (5, ["a"], [5], SOMETHING, None),
                    "counted": (5, ["a"], [5], SOMETHING, None),
                    "iou": NUMBER,
                },
            ),
            "calibrate": Call(
                thresholds.calibrate,
                measuring,
                {**measured, "target": OBJECT, "confidence": NUMBER, "date": TEXT},
            ),
            "evaluate": Call(
                thresholds.evaluate,
                measuring,
                {**measured, "threshold": NUMBER, "subsets": (5, "easy", [1], SOMETHING)},
            ),
            "from_csv": Call(
                thresholds.from_csv,
                {"labels": folder / "no.csv", "images": folder},
                {"labels": (*PATH, None), "images": (*PATH, None)},
            ),
            "from_folders": Call(
                thresholds.from_folders,
                {"faces": folder, "nonfaces": folder},
                {"faces": (*PATH, None), "nonfaces": (*PATH, None)},
            ),
            "read_annotations": Call(
                thresholds.read_annotations,
                {"annotations": folder / "a.json", "images": folder},
                {
                    "annotations": (*PATH, None),
                    "images": (*PATH, None),
                    "form": CHOICE[:-1],
                    "category": TEXT,
                },
            ),
        }


# What the package makes and people read: records of values, which are not checked again.
RECORDS = {
    "CalibrationResult",
    "Choice",
    "Evaluation",
    "Event",
    "EventReader",
    "Evidence",
    "Face",
    "FaceAppeared",
    "FaceLeft",
    "Failure",
    "Frame",
    "LabelledImage",
    "LandmarkError",
    "OperatingPoint",
    "Person",
    "PersonChanged",
    "Rate",
    "RotationFound",
    "Snapshot",
    "SourceBack",
    "SourceLost",
    "Track",
    "TrackerCounts",
    "ViewBlocked",
    "ViewCleared",
}
ELSEWHERE = {"MTCNN"}  # in tests/test_compat.py


def test_everything_public_that_can_be_called_is_tried_here(calls: dict[str, Call]) -> None:
    known = {*calls, *RECORDS, *ELSEWHERE}
    missing = []
    for module in (edge_mtcnn, video, serve, thresholds):
        for name in module.__all__:
            value = getattr(module, name)
            is_error = isinstance(value, type) and issubclass(value, Exception)
            if callable(value) and not is_error and not _is_literal(value) and name not in known:
                missing.append(name)
    assert missing == []


def test_every_parameter_is_tried(calls: dict[str, Call]) -> None:
    for name, call in calls.items():
        parameters = set(inspect.signature(call.function).parameters)
        assert parameters == set(call.refused), name


def _is_literal(value: Any) -> bool:
    return getattr(value, "__origin__", None) is not None


def wrong(calls: dict[str, Call]) -> Iterator[tuple[str, str, Any]]:
    for name, call in calls.items():
        for parameter, values in call.refused.items():
            for value in values:
                yield name, parameter, value


def test_wrong_types_are_errors_of_the_package_that_name_what_they_got(
    calls: dict[str, Call],
) -> None:
    accepted, foreign, long = [], [], []
    for name, parameter, value in wrong(calls):
        call = calls[name]
        text = f"{name}({parameter}={value!r})"
        try:
            made = call.function(**{**call.given, parameter: value})
        except EdgeMTCNNError as error:
            if not 0 < len(str(error)) < 1000:
                long.append(text)
        except Exception as error:  # noqa: BLE001 - collected, to see all of them
            foreign.append(f"{text}: {type(error).__name__}: {error}")
        else:
            accepted.append(text)
            if hasattr(made, "close"):
                made.close()
    assert not accepted + foreign + long, "\n".join(accepted + foreign + long)


def test_right_types_are_taken(calls: dict[str, Call]) -> None:
    for name in ("FaceTracker", "WatchOptions", "align_faces", "draw_snapshot", "choose", "Faces"):
        call = calls[name]
        assert call.function(**call.given) is not None
    listener = serve.listen("127.0.0.1", 0)
    assert isinstance(listener, socket.socket)
    listener.close()


def test_a_missing_argument_stays_a_type_error() -> None:
    with pytest.raises(TypeError, match="image"):
        edge_mtcnn.draw_faces()  # type: ignore[call-arg]
