"""Tracking: the same ids, nearly all faces, for a fraction of the work; and its parts alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from videos import background, panned, scene

from edge_mtcnn import DetectorOptions, FaceDetector, Faces, OptionsError
from edge_mtcnn.types import ImageArray
from edge_mtcnn.video import FaceTracker, TrackerOptions
from edge_mtcnn.video.tracking import tracks as tracks_module
from edge_mtcnn.video.tracking.budget import Budget
from edge_mtcnn.video.tracking.motion import MotionGate, thumbnail
from edge_mtcnn.video.tracking.smoothing import FaceFilter
from edge_mtcnn.video.tracking.tracks import TrackBook, continuous_iou

FPS = 20
LANDMARKS = [(30.0, 40.0), (70.0, 40.0), (50.0, 60.0), (35.0, 80.0), (65.0, 80.0)]


@pytest.fixture(scope="module")
def detector() -> Iterator[FaceDetector]:
    """The preset of kiosks, for faces from 40 pixels on."""
    options = DetectorOptions.from_preset("kiosk")
    with FaceDetector(DetectorOptions(**{**options.to_dict(), "min_face_size": 40})) as loaded:
        yield loaded


def faces_at(*corners: tuple[float, float], score: float = 0.99, size: float = 100) -> Faces:
    """Faces of one size whose boxes begin at these corners."""
    if not corners:
        return Faces.empty((480, 640))
    boxes = np.array([(x, y, x + size, y + size) for x, y in corners], dtype=np.float32)
    landmarks = np.array([np.array(LANDMARKS) * size / 100 + corner for corner in corners])
    return Faces(boxes, np.full(len(boxes), score), landmarks, image_size=(480, 640))


def test_a_moving_face_keeps_its_id_and_is_found_in_every_frame_with_few_full_searches(
    detector: FaceDetector,
) -> None:
    tracker = FaceTracker(detector)
    for index, frame in enumerate(panned(60)):
        tracks = tracker.update(frame, index / FPS)
        found = detector.detect(frame, color="bgr")
        assert len(found) == 1
        assert [track.id for track in tracks] == [1]
        assert tracks[0].seen
        assert tracks[0].confirmed == (index > 0)
        # Where full detection has it; both measure with some noise.
        assert continuous_iou(tracks[0].face.box, found[0].box) > 0.75
    assert tracker.counts.frames == 60
    assert tracker.counts.full <= 2
    assert tracker.counts.near + tracker.counts.flow >= 58


def test_a_quick_search_uses_o_net_alone_and_finds_a_face_where_it_was(
    detector: FaceDetector,
) -> None:
    frames = list(panned(2, step=3))
    (before,) = detector.detect(frames[0], color="bgr")
    near = detector.search(frames[1], color="bgr", timings=True).quick([before.box])
    (face,) = near
    (full,) = detector.detect(frames[1], color="bgr")
    assert continuous_iou(face.box, full.box) > 0.8
    assert face.score == face.confidence  # no mirror check
    assert near.timings is not None
    assert (near.timings.rnet_windows, near.timings.onet_windows) == (0, 1)
    nothing = detector.search(background(), color="bgr").quick([before.box])
    assert len(nothing) == 0


def test_the_mirror_check_scores_a_known_face_only_now_and_then(detector: FaceDetector) -> None:
    tracker = FaceTracker(detector, TrackerOptions(discovery_seconds=60, score_gap=0.5))
    scores = []
    for index, frame in enumerate(panned(40)):
        (track,) = tracker.update(frame, index / FPS)
        scores.append(track.face.score)
        assert track.mean_score > 0.9
    fresh = sum(a != b for a, b in pairwise(scores))
    assert 4 <= fresh <= 8  # the first few, then each half second of two


def test_two_faces_that_pass_out_of_view_and_come_back_keep_their_ids(
    detector: FaceDetector,
) -> None:
    tracker = FaceTracker(detector)
    left, right = (0, 30), (240, 30)
    for index in range(10):
        tracks = tracker.update(scene([left, right], (240, 400)), index / FPS)
    assert {track.id for track in tracks} == {1, 2}
    place = {track.id: track.face.box[0] > 200 for track in tracks}
    for index in range(10, 20):  # the right one is hidden for half a second
        tracks = tracker.update(scene([left], (240, 400)), index / FPS)
    assert [track.id for track in tracks if track.seen] == [i for i in place if not place[i]]
    for index in range(20, 26):
        tracks = tracker.update(scene([left, right], (240, 400)), index / FPS)
    assert {track.id: track.face.box[0] > 200 for track in tracks} == place


def test_a_new_face_is_found_within_the_stated_time_while_another_is_followed(
    detector: FaceDetector,
) -> None:
    # The rotating part of the pyramid alone: no full search is allowed for a minute.
    options = TrackerOptions(discovery_seconds=0.5, full_every=10_000, search_gap=60)
    tracker = FaceTracker(detector, options)
    for index in range(20):
        tracker.update(scene([(0, 30)], (240, 400)), index / FPS)
    for index in range(20, 20 + round(0.5 * FPS) + 1):
        tracks = tracker.update(scene([(0, 30), (240, 30)], (240, 400)), index / FPS)
    assert len(tracks) == 2
    assert tracker.counts.full == 1


def test_a_new_face_asks_once_whether_there_are_more(detector: FaceDetector) -> None:
    tracker = FaceTracker(detector, TrackerOptions(discovery_seconds=60, search_gap=0.25))
    for index in range(20):
        tracks = tracker.update(scene([(0, 30)], (240, 400)), index / FPS)
    assert len(tracks) == 1
    assert tracker.counts.full == 2  # the first, and a quarter of a second after it


def test_a_lost_face_is_looked_for_around_its_place_and_keeps_its_id() -> None:
    book = TrackBook(keep_seconds=2)
    for step in range(6):  # walking to the right, then hidden, and standing where it was
        book.update(faces_at((20.0 * step, 0)), step * 0.05)
    for step in range(6, 10):
        book.update(faces_at(), step * 0.05)
    windows = book.windows(0.5)
    assert len(windows) == 8
    assert windows[:, 0].min() == pytest.approx(100, abs=5)  # where it was seen last
    (track,) = book.update(faces_at((100, 0)), 0.5)
    assert (track.id, track.seen) == (1, True)


def test_an_empty_scene_costs_less_than_full_detection_and_a_face_in_it_is_found_at_once(
    detector: FaceDetector,
) -> None:
    tracker = FaceTracker(detector)
    for index in range(40):
        assert tracker.update(background(), index / FPS) == ()
    assert tracker.counts.full == 1
    assert tracker.counts.rotating <= 8  # three parts a second
    (track,) = tracker.update(scene([(80, 40)]), 40 / FPS)
    assert track.seen


def test_a_face_that_jumps_is_searched_for_at_once_in_the_whole_frame(
    detector: FaceDetector,
) -> None:
    tracker = FaceTracker(detector, TrackerOptions(discovery_seconds=10))
    for index in range(10):
        tracker.update(scene([(0, 0)], (400, 640)), index / FPS)
    full = tracker.counts.full
    tracks = tracker.update(scene([(400, 200)], (400, 640)), 10 / FPS)
    assert tracker.counts.full == full + 1
    assert any(track.seen and track.face.box[0] > 380 for track in tracks)


def test_a_changed_frame_size_starts_again_with_new_ids(detector: FaceDetector) -> None:
    tracker = FaceTracker(detector)
    tracker.update(scene([(0, 0)]), 0.0)
    (track,) = tracker.update(scene([(0, 0)], (300, 400)), 0.1)
    assert track.id == 2


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (13, 13), (41, 39), (2000, 20)])
def test_frames_of_any_size_are_taken(size: tuple[int, int], detector: FaceDetector) -> None:
    tracker = FaceTracker(detector)
    picture = np.asarray(cv2.resize(scene([(80, 40)]), size[::-1]), dtype=np.uint8)
    for index in range(6):
        assert len(tracker.update(picture, index / 3)) <= 1
    assert tracker.counts.frames == 6


def test_gray_frames_are_followed_too(detector: FaceDetector) -> None:
    tracker = FaceTracker(detector)
    for index, frame in enumerate(panned(3)):
        tracks = tracker.update(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), index / FPS)
        assert len(tracks) == 1


def test_a_budget_is_kept_on_average_and_the_face_is_still_known(detector: FaceDetector) -> None:
    frames = list(panned(120, step=0.5))
    free, tight = FaceTracker(detector), FaceTracker(detector, TrackerOptions(budget_ms=0.1))
    for index, frame in enumerate(frames):
        free.update(frame, index / FPS)
        tracks = tight.update(frame, index / FPS)
        if index > 10:
            assert tracks == () or tracks[0].id >= 1
    assert free.counts.skipped == 0
    assert tight.counts.skipped > 60
    assert tight.counts.full + tight.counts.rotating + tight.counts.near < 60


def test_the_webcam_video_has_one_id_and_no_frame_without_its_face(
    shared: Path, detector: FaceDetector
) -> None:
    tracker = FaceTracker(detector)
    video = cv2.VideoCapture(str(shared / "data/video/aittsmd_video_test.avi"))
    for index in range(300):
        more, frame = video.read()
        assert more
        tracks = tracker.update(np.asarray(frame, dtype=np.uint8), index / FPS)
        assert [track.id for track in tracks if track.seen] == [1]
    video.release()


@pytest.mark.parametrize(
    "options",
    [
        {"discovery_seconds": 0},
        {"full_every": 0},
        {"search_gap": -1},
        {"score_gap": 61},
        {"confirm_hits": 0},
        {"max_tracks": 0},
        {"budget_ms": 0},
        {"budget_share": 100},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionsError, match=next(iter(options))):
        TrackerOptions(**options)  # type: ignore[arg-type]


# The book of tracks


def test_a_track_is_confirmed_by_detections_and_kept_over_short_misses() -> None:
    book = TrackBook(confirm_hits=3, keep_seconds=0.5)
    confirmed = [book.update(faces_at((10, 10)), i * 0.1)[0].confirmed for i in range(3)]
    assert confirmed == [False, False, True]
    (kept,) = book.update(faces_at(), 0.6)
    assert not kept.seen
    assert kept.last_seen == pytest.approx(0.2)
    assert book.update(faces_at(), 0.75) == ()
    (new,) = book.update(faces_at((10, 10)), 0.8)
    assert new.id == 2


def test_an_unconfirmed_track_is_removed_after_two_misses() -> None:
    book = TrackBook()
    book.update(faces_at((10, 10)), 0.0)
    assert len(book.update(faces_at(), 0.1)) == 1
    assert len(book.update(faces_at(), 0.2)) == 0


def false_faces(count: int, seed: int = 0) -> Faces:
    """So many faces all over a frame, several of them near each other."""
    corners = np.random.default_rng(seed).uniform((0, 0), (620, 460), (count, 2))
    return faces_at(*((float(x), float(y)) for x, y in corners), size=20)


def test_a_frame_full_of_false_faces_makes_no_more_tracks_than_allowed() -> None:
    book = TrackBook(max_tracks=50)
    for step in range(4):
        tracks = book.update(false_faces(2000), step * 0.05)
        assert [track.id for track in tracks] == list(range(1, 51))
        assert all(track.seen for track in tracks)
    assert book.untracked == 4 * 1950
    book.update(faces_at(), 0.2)
    assert len(book.windows(0.25)) <= 10 * 50
    book.update(faces_at(), 2.0)
    assert len(book) == 0


def test_known_faces_stay_when_thousands_come_and_the_best_new_ones_get_the_rest() -> None:
    book = TrackBook(max_tracks=3)
    book.update(faces_at((0, 0), (300, 0)), 0.0)
    crowd = faces_at(*((40.0 * step, 200.0) for step in range(16)), (300, 0), (0, 0))
    tracks = book.update(crowd, 0.05)
    assert [track.id for track in tracks] == [1, 2, 3]
    assert [round(track.face.box[0]) for track in tracks] == [0, 300, 0]
    assert book.untracked == 15


def test_no_track_begins_for_two_seconds_where_a_known_thing_was_recognised() -> None:
    book = TrackBook()
    book.exclude(faces_at((10, 10)).boxes, 0.0)
    for time in (0.1, 1.9):
        (track,) = book.update(faces_at((14, 8), (300, 10)), time)
        assert track.face.box[0] == pytest.approx(300, abs=1)
        book.exclude(faces_at().boxes, time)
    book.exclude(faces_at().boxes, 2.1)
    assert len(book.update(faces_at((14, 8), (300, 10)), 2.1)) == 2


def test_a_track_ends_when_it_is_recognised_twice_as_a_known_thing() -> None:
    book = TrackBook()
    book.update(faces_at((10, 10), (300, 10)), 0.0)
    book.exclude(faces_at((10, 10)).boxes, 0.1)
    tracks = book.update(faces_at((300, 10)), 0.1)
    assert [track.seen for track in tracks] == [False, True], "once may be a mistake"
    book.exclude(faces_at((10, 10)).boxes, 0.2)
    assert [track.id for track in book.update(faces_at((300, 10)), 0.2)] == [2]


def test_a_dropped_track_is_gone_and_its_number_is_not_used_again() -> None:
    book = TrackBook()
    book.update(faces_at((10, 10), (300, 10)), 0.0)
    book.drop(1)
    book.drop(99)
    assert [track.id for track in book.tracks(0.1)] == [2]
    tracks = book.update(faces_at((10, 10), (300, 10)), 0.1)
    assert [track.id for track in tracks] == [2, 3]


def test_a_weak_face_goes_on_with_a_track_but_begins_none() -> None:
    book = TrackBook(start_score=0.5)
    assert book.update(faces_at((100, 100), score=0.4), 0.0) == ()
    (track,) = book.update(faces_at((100, 100), score=0.6), 0.1)
    (same,) = book.update(faces_at((102, 100), score=0.1), 0.2)
    assert same.id == track.id
    assert same.seen
    assert same.mean_score < 0.6


def test_a_track_finds_its_face_among_thousands_as_if_it_were_compared_with_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    books = TrackBook(max_tracks=300), TrackBook(max_tracks=300)
    for step in range(6):
        found = false_faces(300 if step == 3 else 200, seed=step // 2)
        picked = books[0].update(found, step * 0.05)
        with monkeypatch.context() as patched:
            patched.setattr(tracks_module, "_FEW", 10_000)
            compared = books[1].update(found, step * 0.05)
        assert picked == compared
        assert any(track.hits > 1 for track in picked) or step == 0


def test_a_tracker_counts_the_faces_that_it_does_not_follow(detector: FaceDetector) -> None:
    tracker = FaceTracker(detector, TrackerOptions(max_tracks=1))
    for index in range(3):
        tracks = tracker.update(scene([(0, 30), (240, 30)], (240, 400)), index / FPS)
        assert [track.id for track in tracks] == [1]
    assert tracker.counts.untracked >= 1


def test_crossing_faces_keep_their_ids() -> None:
    book = TrackBook()
    for step in range(21):  # 20 pixels a frame towards each other, one 70 pixels above the other
        x = 20.0 * step
        tracks = book.update(faces_at((x, 100), (400 - x, 170)), step * 0.05)
        assert len(tracks) == 2
    assert [(track.id, track.face.box[0] > 200) for track in tracks] == [(1, True), (2, False)]


def test_a_fast_face_is_looked_for_beside_where_it_was_first_seen() -> None:
    book = TrackBook()
    book.update(faces_at((0, 0)), 0.0)
    assert {box[0] for box in book.windows(0.05).round().tolist()} == {-35, 0, 35}
    (track,) = book.update(faces_at((50, 0)), 0.05)
    assert (track.id, track.confirmed) == (1, True)
    assert book.windows(0.1).round().tolist() == [[100, 0, 200, 100]]  # it is expected further on


def test_a_face_of_another_size_is_another_face() -> None:
    book = TrackBook()
    book.update(faces_at((0, 0)), 0.0)
    assert {track.id for track in book.update(faces_at((0, 0), size=190), 0.1)} == {1, 2}


def test_detections_without_a_score_keep_the_score() -> None:
    book = TrackBook()
    book.update(faces_at((0, 0), score=0.9), 0.0)
    (track,) = book.update(faces_at((0, 0), score=0.2), 0.1, scored=False)
    assert track.face.score == pytest.approx(0.9)
    assert track.mean_score == pytest.approx(0.9)
    (track,) = book.update(faces_at((0, 0), score=0.7), 0.2)
    assert track.mean_score == pytest.approx(0.8)


# Smoothing, motion, budget


def test_a_steady_movement_is_followed_without_lag() -> None:
    def points(x: float) -> tuple[tuple[float, float, float, float], list[tuple[float, float]]]:
        return (x, 0.0, x + 100, 100.0), [(x + px, py) for px, py in LANDMARKS]

    face = FaceFilter(*points(0), 0.0)
    for step in range(1, 20):
        face.correct(*points(5.0 * step), step * 0.05)
    expected = face.expected(20 * 0.05)
    assert expected.box[0] == pytest.approx(100, abs=1.0)  # a fifth of one frame's movement
    assert expected.landmarks[0][0] == pytest.approx(130, abs=1.0)


def test_trembling_is_smoothed() -> None:
    random = np.random.default_rng(3)
    noise = random.normal(0, 1.0, (400, 4))
    face = FaceFilter((100, 100, 200, 200), LANDMARKS, 0.0)
    corners = []
    for step, (a, b, c, d) in enumerate(noise.tolist(), start=1):
        face.correct((100 + a, 100 + b, 200 + c, 200 + d), LANDMARKS, step * 0.05)
        corners.append(face.expected(step * 0.05).box[0])
    # One pixel is much for a face of 100: smaller trembling is smoothed more.
    assert np.std(np.diff(corners)) < 0.7 * np.std(np.diff(noise[:, 0]))


def test_a_box_never_turns_inside_out_however_fast_it_shrinks() -> None:
    face = FaceFilter((0, 0, 100, 100), LANDMARKS, 0.0)
    face.correct((45, 45, 55, 55), LANDMARKS, 0.05)
    x1, y1, x2, y2 = face.expected(1.0).box
    assert x2 > x1
    assert y2 > y1


def test_motion_is_change_since_the_mark_even_when_slow() -> None:
    gate = MotionGate()
    picture = background()
    assert gate.changed(thumbnail(picture))
    gate.mark(thumbnail(picture))
    assert not gate.changed(thumbnail(picture))
    for step in range(1, 40):
        moved = picture.copy()
        moved[100:140, 2 * step : 2 * step + 30] = 255
        if gate.changed(thumbnail(moved)):
            break
    assert step < 10
    assert gate.changed(thumbnail(background(120, 160)))  # another size is another scene


def test_motion_in_the_dark_is_seen_and_noise_is_not() -> None:
    random, gate = np.random.default_rng(0), MotionGate()

    def dark(picture: ImageArray) -> ImageArray:
        noisy = picture * 0.08 + random.normal(0, 3, picture.shape)
        return thumbnail(noisy.clip(0, 255).round().astype(np.uint8))

    picture = background()
    moved = picture.copy()
    moved[60:180, 100:160] //= 3
    gate.mark(dark(picture))
    assert not any(gate.changed(dark(picture), 8.0) for _ in range(50))
    assert gate.changed(dark(moved), 8.0)
    assert not gate.changed(dark(moved), 1.0)  # as it would be without the gain


@pytest.mark.parametrize("name", ["night", "a lamp that blinks"])
def test_one_track_follows_a_face_through_the_dark(name: str, detector: FaceDetector) -> None:
    random, tracker = np.random.default_rng(0), FaceTracker(detector)
    gains, scores = [], []
    for number, picture in enumerate(panned(40)):
        lit = name != "night" and number // 5 % 2 == 0
        dark = picture * (1.0 if lit else 0.1) + random.normal(0, 1, picture.shape)
        tracks = tracker.update(dark.clip(0, 255).round().astype(np.uint8), number / 20)
        gains.append(tracker.gain)
        if number >= 5:
            assert [track.id for track in tracks if track.confirmed] == [1]
            assert tracks[0].seen
            scores.append(tracks[0].face.score)
    assert min(scores) > 0.9
    assert np.abs(np.diff(gains)).max() < 0.7  # the gain is reported without flicker
    assert gains[-1] > (5 if name == "night" else 2)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (480, 640, 3), (480, 640, 4), (1080, 1920)])
def test_a_thumbnail_is_small_and_of_any_frame(shape: tuple[int, ...]) -> None:
    small = thumbnail(np.full(shape, 77, np.uint8))
    assert small.ndim == 2
    assert max(small.shape) <= 160
    assert (small == 77).all()


def test_a_budget_covers_the_first_search_and_then_what_it_holds() -> None:
    budget = Budget(2.0, None, threads=1)
    assert budget.allows_search(1.0)
    budget.full_took(10.0)
    budget.spent(10.0)
    waited = 0
    while not budget.allows_search(1.0):
        budget.frame(0.05)
        waited += 1
    assert waited == 10  # 10 ms of debt and 10 ms to come at 2 ms a frame
    for _ in range(1000):
        budget.frame(0.05)
    budget.spent(20.0)
    assert not budget.allows_search(1.0)  # a quiet period cannot fund a long burst


def test_a_share_of_a_core_is_spread_over_the_threads() -> None:
    budget = Budget(None, 0.1, threads=2)
    budget.full_took(5.0)
    for _ in range(2):
        budget.frame(0.05)
    assert budget.allows_search(1.0)  # 0.1 s of video bring 10 ms of one core, 5 of two
