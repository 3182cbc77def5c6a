"""``FaceDetector`` whole: real sessions, real photos, any size, any number of threads."""

from __future__ import annotations

import dataclasses
import gc
import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_mtcnn import (
    DetectionTimeout,
    DetectorOptions,
    EdgeMTCNNError,
    FaceDetector,
    Faces,
    OptionsError,
    RuntimeOptions,
    __version__,
)
from edge_mtcnn.types import FloatArray, ImageArray

ROOT = Path(__file__).resolve().parent.parent

# Two detections of the same face from different windows agree this far: the regression of one
# O-Net call is coarse to about a tenth of the face.
SAME_FACE_IOU = 0.7
# Sampling and mirror check differ between the presets; the face is the same.
PRESETS_IOU = 0.8


@pytest.fixture(scope="module")
def photo(sample_path: Callable[[str], Path]) -> ImageArray:
    image: ImageArray = cv2.cvtColor(cv2.imread(str(sample_path("astronaut"))), cv2.COLOR_BGR2RGB)
    return image


@pytest.fixture(scope="module")
def crowd(photo: ImageArray) -> ImageArray:
    """The astronaut's head six times."""
    return np.tile(photo[0:240, 120:330], (2, 3, 1))


@pytest.fixture(params=["default", "reference"])
def detector(request: pytest.FixtureRequest) -> FaceDetector:
    found: FaceDetector = request.getfixturevalue(f"{request.param}_detector")
    return found


def iou(a: FloatArray, b: FloatArray) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = np.maximum(high - low, 0).prod()
    both = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()
    return float(shared / (both - shared))


def with_options(**changes: Any) -> FaceDetector:
    return FaceDetector(dataclasses.replace(DetectorOptions(), **changes))


def test_the_face_of_the_astronaut_is_where_it_is(
    detector: FaceDetector, photo: ImageArray
) -> None:
    faces = detector.detect(photo)
    assert len(faces) == 1
    face = faces[0]
    x1, y1, x2, y2 = face.box
    assert 150 < x1 < 200 < 250 < x2 < 290
    assert 40 < y1 < 90 < 150 < y2 < 200
    assert face.confidence > 0.99
    eyes, mouth = face.landmarks[:2], face.landmarks[3:]
    assert eyes[0][0] < face.landmarks.nose[0] < eyes[1][0]
    assert max(eye[1] for eye in eyes) < face.landmarks.nose[1] < min(y for _, y in mouth)
    assert faces.image_size == (512, 512)
    assert faces.timings is None


@pytest.mark.parametrize("name", ["chelsea", "coffee", "rocket", "hubble_deep_field"])
def test_a_picture_without_a_face_is_an_empty_result(
    name: str, sample_path: Callable[[str], Path], default_detector: FaceDetector
) -> None:
    image = cv2.cvtColor(cv2.imread(str(sample_path(name))), cv2.COLOR_BGR2RGB)
    faces = default_detector.detect(image)
    # What O-Net alone takes for a face here scores low as a person's face.
    assert len(faces[faces.scores > 0.9]) == 0
    assert faces.image_size == image.shape[:2]


def test_presets_agree_about_the_face(
    photo: ImageArray, default_detector: FaceDetector, reference_detector: FaceDetector
) -> None:
    ours, theirs = default_detector.detect(photo), reference_detector.detect(photo)
    assert len(ours) == len(theirs) == 1
    assert iou(ours.boxes[0], theirs.boxes[0]) > PRESETS_IOU


def test_faces_come_best_first(detector: FaceDetector, crowd: ImageArray) -> None:
    scores = detector.detect(crowd).scores
    assert len(scores) >= 6
    assert (np.diff(scores) <= 0).all()
    assert ((scores >= 0) & (scores <= 1)).all()


def test_detection_is_repeatable(detector: FaceDetector, crowd: ImageArray) -> None:
    assert detector.detect(crowd) == detector.detect(crowd.copy())


def test_an_image_is_not_remembered(
    detector: FaceDetector, photo: ImageArray, crowd: ImageArray
) -> None:
    alone = detector.detect(photo)
    detector.detect(crowd)
    assert detector.detect(photo) == alone


def test_bgr_frames_are_read_as_such(default_detector: FaceDetector, photo: ImageArray) -> None:
    frame = photo[:, :, ::-1]
    assert default_detector.detect(frame, color="bgr") == default_detector.detect(photo)
    assert default_detector.detect(frame) != default_detector.detect(photo)


SIZES = [
    (1, 1),
    (1, 700),
    (700, 1),
    (11, 11),
    (12, 12),
    (13, 13),
    (19, 19),
    (20, 20),
    (21, 20),
    (25, 1200),
    (5000, 30),
    (30, 5000),
    (47, 63),
    (101, 99),
]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_any_size_of_noise_is_searched(size: tuple[int, int], detector: FaceDetector) -> None:
    image = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    faces = detector.detect(image, timings=True)
    assert faces.image_size == size
    assert faces.boxes.shape == (len(faces), 4)
    assert faces.landmarks.shape == (len(faces), 5, 2)
    assert faces.timings is not None
    assert len(faces.timings.levels) == detector.search(image).level_count
    assert (len(faces.timings.levels) > 0) == (min(size) >= 20)


@pytest.mark.parametrize("size", [(10, 10), (11, 11), (12, 12), (20, 20)])
def test_the_smallest_face_size_searches_images_of_that_size(size: tuple[int, int]) -> None:
    with with_options(min_face_size=10) as detector:
        image = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
        faces = detector.detect(image, timings=True)
        assert faces.timings is not None
        assert len(faces.timings.levels) >= 1


@pytest.mark.parametrize("preset", ["default", "reference"])
@pytest.mark.parametrize("wide", [True, False])
def test_a_face_in_a_very_long_image_is_found(preset: str, wide: bool, photo: ImageArray) -> None:
    # Beyond 32,766 pixels OpenCV's remap refuses an image; scans and panoramas are that long.
    head = cv2.resize(photo[0:240, 120:330], (70, 80), interpolation=cv2.INTER_AREA)
    shape = (90, 36_000, 3) if wide else (36_000, 80, 3)
    image = np.full(shape, 120, dtype=np.uint8)
    top, left = (5, 35_000) if wide else (35_000, 5)
    image[top : top + 80, left : left + 70] = head
    options = dataclasses.replace(DetectorOptions.from_preset(preset), min_face_size=30)
    with FaceDetector(options) as detector:
        face = detector.detect(image).best()
    assert face is not None
    assert left < face.box[0] < face.box[2] < left + 70
    assert top < face.box[1] < face.box[3] < top + 80


def test_faces_at_the_border_may_leave_the_image(photo: ImageArray, detector: FaceDetector) -> None:
    cut = photo[:, 205:]  # through the left eye
    faces = detector.detect(cut)
    assert len(faces) >= 1
    assert faces.boxes[:, 0].min() < 0
    assert faces.clipped_boxes()[:, 0].min() == 0
    assert faces.to_dicts()[0]["box"][0] >= 0


def test_smaller_faces_than_asked_for_are_left_out(photo: ImageArray) -> None:
    # The face is 87 x 114 pixels; P-Net still proposes it from windows twice that size.
    with with_options(min_face_size=300) as large:
        assert len(large.detect(photo)) == 0
    with with_options(min_face_size=80) as small:
        assert len(small.detect(photo)) == 1


def test_larger_faces_than_asked_for_are_left_out(photo: ImageArray) -> None:
    # P-Net still proposes the face from windows a third of its size.
    with with_options(min_face_size=20, max_face_size=20) as small:
        assert len(small.detect(photo)) == 0
        assert small.search(photo).level_count == 1
    with with_options(min_face_size=20, max_face_size=150) as large:
        assert len(large.detect(photo)) == 1


@pytest.mark.parametrize("preset", ["default", "reference"])
def test_confidence_filters_by_score(preset: str, crowd: ImageArray) -> None:
    options = DetectorOptions.from_preset(preset)
    with FaceDetector(options) as detector:
        every = detector.detect(crowd)
    limit = float(np.median(every.scores))
    with FaceDetector(dataclasses.replace(options, confidence=limit)) as detector:
        kept = detector.detect(crowd)
    with FaceDetector(dataclasses.replace(options, confidence=1.0)) as detector:
        certain = detector.detect(crowd)
    assert 0 < len(kept) < len(every) or every.scores.min() == limit
    assert kept == every[every.scores >= limit]
    assert (certain.scores >= 1.0).all()


def test_caps_keep_the_best_and_are_told(crowd: ImageArray) -> None:
    with with_options(max_candidates=(40, 12, 3)) as capped, with_options() as free:
        few = capped.detect(crowd, timings=True)
        every = free.detect(crowd, timings=True)
    assert few.timings is not None
    assert every.timings is not None
    assert every.timings.capped == ()
    assert every.timings.rnet_windows > 40
    assert few.timings.capped == ("pnet", "rnet", "onet")
    assert few.timings.rnet_windows == 40
    assert few.timings.onet_windows == 12
    assert len(few) == 3


def test_caps_on_cells_keep_the_best_and_are_told(crowd: ImageArray) -> None:
    with with_options(max_cells=(60, 100)) as capped, with_options() as free:
        few = capped.detect(crowd, timings=True)
        every = free.detect(crowd, timings=True)
    assert few.timings is not None
    assert every.timings is not None
    assert few.timings.capped == ("cells",)
    assert few.timings.rnet_windows <= 100 < every.timings.rnet_windows
    assert len(few) >= 6


def test_a_picture_full_of_faces_takes_little_memory(photo: ImageArray) -> None:
    face = cv2.resize(photo[60:176, 175:270], (14, 14), interpolation=cv2.INTER_AREA)
    wall = np.tile(face, (85, 85, 1))
    everything = {
        "min_face_size": 10,
        "scale_factor": 0.79,
        "thresholds": (0.5, 0.5, 0.3),
        "confidence": 0.0,
    }
    with with_options(**everything, max_candidates=(3000, 1000, 500)) as detector:
        tracemalloc.start()
        try:
            faces = detector.detect(wall, timings=True)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert faces.timings is not None
    assert {"cells", "pnet", "rnet"} <= set(faces.timings.capped)
    assert len(faces) > 100
    assert peak < 150e6


def test_a_detection_stops_at_its_timeout_and_the_next_one_runs(crowd: ImageArray) -> None:
    large = np.tile(crowd, (4, 4, 1))
    with with_options() as detector:
        before = detector.detect(crowd)
        with pytest.raises(
            DetectionTimeout, match=r"stopped after 0.001 s, its timeout\. A smaller"
        ):
            detector.detect(large, timeout=0.001)
        assert detector.detect(crowd, timeout=60) == before


@pytest.mark.parametrize("timeout", [0, -1, np.nan, np.inf, "1", True])
def test_a_timeout_is_a_positive_number_of_seconds(crowd: ImageArray, timeout: Any) -> None:
    with with_options() as detector, pytest.raises(OptionsError, match="timeout must be a number"):
        detector.detect(crowd, timeout=timeout)


def test_one_candidate_per_stage_still_finds_a_face(photo: ImageArray) -> None:
    with with_options(max_candidates=(1, 1, 1)) as detector:
        faces = detector.detect(photo, timings=True)
    assert len(faces) == 1
    assert faces.timings is not None
    assert "pnet" in faces.timings.capped
    assert faces.timings.rnet_windows == 1


def test_generous_caps_change_nothing(crowd: ImageArray) -> None:
    with with_options() as usual, with_options(max_cells=None, max_candidates=None) as free:
        assert usual.detect(crowd) == free.detect(crowd)


def test_timings_tell_where_the_time_went(detector: FaceDetector, photo: ImageArray) -> None:
    faces = detector.detect(photo, timings=True)
    timings = faces.timings
    assert timings is not None
    stages = (timings.pyramid_ms, timings.pnet_ms, timings.rnet_ms, timings.onet_ms)
    assert min(stages) > 0
    assert sum(stages) < timings.total_ms
    assert len(timings.levels) == detector.search(photo).level_count == 10
    assert timings.levels[0] == (308, 308)
    assert timings.rnet_windows > timings.onet_windows > 0
    assert timings.capped == ()
    assert faces == detector.detect(photo)


def test_thresholds_of_one_let_nothing_through(photo: ImageArray) -> None:
    with with_options(thresholds=(1.0, 1.0, 1.0)) as detector:
        assert len(detector.detect(photo)) == 0


def test_thresholds_of_zero_work(photo: ImageArray) -> None:
    with with_options(thresholds=(0.0, 0.0, 0.0), min_face_size=100) as detector:
        face = detector.detect(photo).best()
    assert face is not None
    assert face.confidence > 0.9


def test_the_mirror_check_changes_score_and_landmarks_and_not_the_box(photo: ImageArray) -> None:
    with with_options(mirror=True) as both, with_options(mirror=False) as once:
        checked, unchecked = both.detect(photo), once.detect(photo)
    assert len(checked) == len(unchecked) == 1
    assert np.array_equal(checked.boxes, unchecked.boxes)
    assert np.array_equal(checked.confidences, unchecked.confidences)
    assert unchecked.scores.tolist() == unchecked.confidences.tolist()
    assert not np.array_equal(checked.landmarks, unchecked.landmarks)
    # Two readings of the same points differ by a few per cent of the distance of the eyes.
    shift = np.abs(checked.landmarks - unchecked.landmarks).max()
    assert shift < 0.1 * unchecked[0].eye_distance


@pytest.mark.parametrize("preset", ["default", "reference"])
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_results_do_not_depend_on_the_number_of_threads(
    preset: str, threads: int, crowd: ImageArray, request: pytest.FixtureRequest
) -> None:
    expected = request.getfixturevalue(f"{preset}_detector").detect(crowd)
    with FaceDetector(preset=preset, runtime=RuntimeOptions(threads=threads)) as detector:
        assert detector.info()["threads"] == threads
        assert detector.detect(crowd) == expected


def test_detection_from_eight_threads_at_once_equals_one_after_the_other(
    detector: FaceDetector, photo: ImageArray, crowd: ImageArray
) -> None:
    images = [photo, crowd, photo[:300], crowd[:, :400]]
    expected = [detector.detect(image) for image in images]
    results: dict[int, list[Faces]] = {}
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait(60)
        order = [(number + step) % len(images) for step in range(len(images))]
        found = {index: detector.detect(images[index]) for index in order}
        results[number] = [found[index] for index in range(len(images))]

    callers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join(120)
    assert sorted(results) == list(range(8))
    for number in range(8):
        assert results[number] == expected


def test_a_batch_is_what_detect_gives_one_by_one(
    detector: FaceDetector, photo: ImageArray, crowd: ImageArray
) -> None:
    images = [photo, np.zeros((1, 1, 3), dtype=np.uint8), crowd, photo[:200, :, 0]]
    expected = [detector.detect(image) for image in images]
    assert detector.detect_batch(images) == expected
    assert detector.detect_batch(image for image in images) == expected
    assert detector.detect_batch([]) == []


def test_a_batch_takes_color_and_timings(default_detector: FaceDetector, photo: ImageArray) -> None:
    frames = np.stack([photo[:, :, ::-1]] * 2)
    results = default_detector.detect_batch(frames, color="bgr", timings=True)
    assert results == [default_detector.detect(photo)] * 2
    assert all(faces.timings is not None for faces in results)


def test_one_detector_serves_calls_with_different_options_at_the_same_time(
    photo: ImageArray, crowd: ImageArray
) -> None:
    asked = [
        None,
        DetectorOptions(min_face_size=80),
        DetectorOptions(confidence=0.9),
        DetectorOptions.from_preset("reference"),
        DetectorOptions.from_preset("kiosk"),
    ]
    expected = []
    for options in asked:
        with FaceDetector(options) as own:
            expected.append(own.detect(crowd))
    with FaceDetector() as detector, ThreadPoolExecutor(5) as pool:
        networks = detector._networks
        found = list(pool.map(lambda options: detector.detect(crowd, options=options), asked))
        assert detector._networks is networks, "nothing is loaded again"
        assert detector.options == DetectorOptions()
        assert detector.detect_batch([crowd], options=asked[1]) == [expected[1]]
        with pytest.raises(OptionsError, match="options must be DetectorOptions; got 'kiosk'"):
            detector.detect(photo, options="kiosk")  # type: ignore[arg-type]
    assert found == expected
    assert len({len(faces) for faces in expected} | {faces.scores.sum() for faces in expected}) > 3


def test_the_mirror_check_can_be_asked_for_by_call(photo: ImageArray) -> None:
    with FaceDetector(DetectorOptions(mirror=False)) as plain, FaceDetector() as mirrored:
        expected = mirrored.detect(photo)
        assert plain.detect(photo, options=DetectorOptions()) == expected
        assert plain.detect(photo) != expected


def test_near_the_face_finds_the_face_without_a_pyramid(
    detector: FaceDetector, photo: ImageArray
) -> None:
    expected = detector.detect(photo)
    moved = expected.boxes + np.array([4, -5, 6, 3])
    faces = detector.search(photo, timings=True).near(moved)
    assert len(faces) == 1
    assert iou(faces.boxes[0], expected.boxes[0]) > SAME_FACE_IOU
    assert faces.timings is not None
    assert faces.timings.levels == ()
    assert faces.timings.rnet_windows == 1


def test_near_no_box_and_on_no_level_finds_nothing(
    detector: FaceDetector, photo: ImageArray
) -> None:
    assert len(detector.search(photo).near([])) == 0
    assert len(detector.search(photo).near(np.zeros((0, 4)))) == 0


def test_near_no_box_on_all_levels_is_detect(detector: FaceDetector, crowd: ImageArray) -> None:
    search = detector.search(crowd)
    every = detector.detect(crowd)
    assert search.near([], range(search.level_count)) == every
    assert search.everywhere() == every  # the second look at the same levels


def test_without_onet_more_places_are_found_and_all_faces_are_among_them(
    detector: FaceDetector, crowd: ImageArray
) -> None:
    search = detector.search(crowd)
    faces, candidates = search.everywhere(), search.without_onet()
    assert search.size == crowd.shape[:2]
    assert len(candidates.boxes) > len(faces)
    widths, heights = (candidates.boxes[:, 2:] - candidates.boxes[:, :2]).T
    assert (abs(widths - heights) <= 1).all()  # cut off to whole numbers
    assert (np.diff(candidates.scores) <= 0).all()
    for index, box in enumerate(candidates.boxes):
        assert all(iou(box, better) < 0.71 for better in candidates.boxes[:index])
    assert (candidates.scores > detector.options.thresholds[1]).all()
    for face in faces:
        # A square around the face, which O-Net makes as narrow as the face is.
        assert max(iou(box, np.array(face.box)) for box in candidates.boxes) > 0.5


def test_near_adds_the_levels_named(default_detector: FaceDetector, photo: ImageArray) -> None:
    faces = default_detector.search(photo, timings=True).near([], [5, 4])
    every = default_detector.detect(photo, timings=True)
    assert faces.timings is not None
    assert every.timings is not None
    assert faces.timings.levels == (every.timings.levels[5], every.timings.levels[4])
    assert len(faces) == 1


def test_near_a_level_that_does_not_exist_is_an_index_error(
    default_detector: FaceDetector, photo: ImageArray
) -> None:
    with pytest.raises(IndexError):
        default_detector.search(photo).near([], [10])


PLACES_WITHOUT_A_FACE = {
    "right of the image": [600, 100, 700, 200],
    "left of the image": [-300, 100, -200, 200],
    "above the image": [100, -90, 150, -40],
    "below the image": [100, 900, 200, 1000],
    "inside out": [200, 200, 100, 100],
    "a point": [100, 100, 100, 100],
    "huge": [-1e7, -1e7, 1e7, 1e7],
    "over the corner": [480, 480, 560, 560],
    "long and thin": [0, 300, 511, 303],
}


@pytest.mark.parametrize("place", PLACES_WITHOUT_A_FACE.values(), ids=list(PLACES_WITHOUT_A_FACE))
def test_near_a_place_without_a_face_finds_nothing(
    place: list[float], detector: FaceDetector, photo: ImageArray
) -> None:
    assert len(detector.search(photo).near([place])) == 0
    # Beside a real place it changes nothing.
    face = detector.detect(photo).boxes.tolist()
    both = detector.search(photo).near([place, *face])
    assert both == detector.search(photo).near(face)
    assert len(both) == 1


@pytest.mark.parametrize(
    "boxes",
    [[1, 2, 3, 4], np.zeros((2, 8)), np.zeros((2, 3)), [[np.nan] * 4], [[0, 0, np.inf, 5]]],
    ids=["one box", "two in a row", "three columns", "NaN", "infinity"],
)
def test_near_wrong_boxes_are_refused(
    boxes: Any, default_detector: FaceDetector, photo: ImageArray
) -> None:
    with pytest.raises(OptionsError, match=r"boxes must be finite numbers of shape \(M, 4\)"):
        default_detector.search(photo).near(boxes)


def test_a_closed_detector_says_so(photo: ImageArray) -> None:
    detector = FaceDetector()
    assert len(detector.detect(photo)) == 1
    detector.close()
    detector.close()
    for use in (
        lambda: detector.detect(photo),
        lambda: detector.detect_batch([photo, photo]),
        lambda: detector.detect_many([photo, photo]),
        lambda: detector.search(photo),
        detector.warm_up,
        detector.info,
    ):
        with pytest.raises(EdgeMTCNNError, match="closed; make a new one"):
            use()


def test_closing_during_detections_of_another_thread_lets_them_end_and_starts_no_thread(
    photo: ImageArray,
) -> None:
    before = set(threading.enumerate())
    detector = FaceDetector(runtime=RuntimeOptions(threads=4))
    expected = detector.detect(photo)
    found: list[Faces] = []
    said: list[str] = []
    under_way = threading.Event()

    def detect_on() -> None:
        try:
            while True:
                found.append(detector.detect(photo))
                under_way.set()
        except EdgeMTCNNError as error:
            said.append(str(error))

    callers = [threading.Thread(target=detect_on) for _ in range(3)]
    for caller in callers:
        caller.start()
    assert under_way.wait(60)
    detector.close()
    for caller in callers:
        caller.join(60)
    assert said == ["this FaceDetector is closed; make a new one"] * 3
    assert found == [expected] * len(found)
    assert not set(threading.enumerate()) - before


def test_the_context_manager_closes_also_after_an_error(photo: ImageArray) -> None:
    with pytest.raises(KeyError, match="mine"), FaceDetector() as detector:  # noqa: PT012
        assert isinstance(detector, FaceDetector)
        raise KeyError("mine")
    with pytest.raises(EdgeMTCNNError, match="closed"):
        detector.detect(photo)


def test_closing_ends_the_threads(photo: ImageArray) -> None:
    before = set(threading.enumerate())
    with FaceDetector(runtime=RuntimeOptions(threads=5)) as detector:
        detector.detect(photo)
        started = set(threading.enumerate()) - before
        assert len(started) == 4
    assert not started & set(threading.enumerate())


def test_detectors_that_are_dropped_without_close_end_their_threads(photo: ImageArray) -> None:
    # As users of the drop-in do it, which has no `close`.
    before = set(threading.enumerate())
    for _ in range(3):
        FaceDetector(runtime=RuntimeOptions(threads=3)).detect(photo)
    gc.collect()
    started = set(threading.enumerate()) - before
    for thread in started:
        thread.join(60)
    assert not any(thread.is_alive() for thread in started)


def test_detectors_are_independent(photo: ImageArray) -> None:
    with FaceDetector() as first:
        expected = first.detect(photo)
        with FaceDetector() as second:
            assert second.detect(photo) == expected
        assert first.detect(photo) == expected


def test_warming_up_changes_no_result(photo: ImageArray, default_detector: FaceDetector) -> None:
    with FaceDetector() as detector:
        detector.warm_up()
        detector.warm_up(100, 200)
        detector.warm_up(1, 1)
        assert detector.detect(photo) == default_detector.detect(photo)


def test_info_tells_what_really_runs(default_detector: FaceDetector) -> None:
    import json

    import onnxruntime

    info = default_detector.info()
    assert info["version"] == __version__
    assert info["onnxruntime"] == onnxruntime.__version__
    assert info["providers"] == ["CPUExecutionProvider"]
    assert info["form"] in {"plain", "blocked"}
    assert info["threads"] >= 1
    assert DetectorOptions.from_dict(info["options"]) == default_detector.options
    assert json.loads(json.dumps(info))["model_version"]


def test_preset_and_options_are_two_ways_to_the_same(photo: ImageArray) -> None:
    with (
        FaceDetector(preset="kiosk") as by_name,
        FaceDetector(DetectorOptions.from_preset("kiosk")) as by_value,
    ):
        assert by_name.options == by_value.options
        assert by_name.detect(photo) == by_value.detect(photo)


def test_detection_writes_nothing_to_the_terminal(tmp_path: Path) -> None:
    code = (
        "import numpy\n"
        "from edge_mtcnn import FaceDetector\n"
        "with FaceDetector() as detector:\n"
        "    detector.warm_up()\n"
        "    detector.detect(numpy.full((200, 300, 3), 128, numpy.uint8))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_detects_the_same(sample_path: Callable[[str], Path]) -> None:
    code = (
        "import os, sys, cv2\n"
        "from edge_mtcnn import FaceDetector, RuntimeOptions\n"
        "image = cv2.imread(sys.argv[1])\n"
        "detector = FaceDetector(runtime=RuntimeOptions(threads=4))\n"
        "expected = detector.detect(image, color='bgr')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0 if detector.detect(image, color='bgr') == expected else 1)\n"
        "_, status = os.waitpid(child, 0)\n"
        "assert detector.detect(image, color='bgr') == expected\n"
        "print(len(expected), os.waitstatus_to_exitcode(status))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(sample_path("astronaut"))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "1 0\n"), done.stderr
