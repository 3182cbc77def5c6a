"""``FaceWatcher`` as kiosk software uses it: real detector, real files, sources that fail."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from videos import Image, background, counts, our_threads, panned, scene, wait_until, write_video

from edge_mtcnn import EdgeMTCNNError, FaceDetector, SourceError
from edge_mtcnn.video import (
    BlindOptions,
    Event,
    FaceAppeared,
    FaceLeft,
    FaceWatcher,
    Frame,
    PersonChanged,
    PresenceOptions,
    Snapshot,
    SourceBack,
    SourceLost,
    SourceOptions,
    TrackerOptions,
    ViewBlocked,
    ViewCleared,
    WatchOptions,
    open_source,
)

STOP_SECONDS = 1.0  # promised to users
FPS = 20


@pytest.fixture(scope="module")
def detector() -> Iterator[FaceDetector]:
    with FaceDetector(preset="kiosk") as loaded:
        loaded.warm_up(240, 320)
        yield loaded


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = itertools.chain(
        itertools.repeat(background(), 10), panned(30), itertools.repeat(background(), 40)
    )
    return write_video(tmp_path_factory.mktemp("video") / "visit.avi", frames, fps=FPS)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Every test ends without a thread of a watcher."""
    yield
    assert wait_until(lambda: not our_threads(), 3), our_threads()


def options(**source: object) -> WatchOptions:
    return WatchOptions(
        source=SourceOptions(
            retry_first=0.02,
            retry_longest=0.05,
            **{"pace": "fast", **source},  # type: ignore[arg-type]
        )
    )


class Camera:
    """A live source whose picture and faults a test sets; a little noise, as cameras have."""

    def __init__(self, picture: Image) -> None:
        self.picture = picture
        self.fault: Exception | None = None
        self.hang = threading.Event()
        self.hang.set()

    def __call__(self) -> Iterator[Image]:
        random = np.random.default_rng(5)
        while True:
            if self.fault is not None:
                raise self.fault
            self.hang.wait(20)
            noise = random.integers(0, 3, self.picture.shape, dtype=np.uint8)
            yield np.minimum(self.picture, 252) + noise
            time.sleep(0.01)


def live(**other: object) -> WatchOptions:
    source = SourceOptions(
        live=True, retry_first=0.02, retry_longest=0.05, frame_timeout=1.0, open_timeout=2.0
    )
    presence = PresenceOptions(appear_after=0.05, leave_after=0.3)
    return WatchOptions(**{"source": source, "presence": presence, **other})  # type: ignore[arg-type]


def answer_is(watcher: FaceWatcher, answer: str) -> Callable[[], bool]:
    return lambda: watcher.snapshot.answer == answer


def state_is(watcher: FaceWatcher, state: str) -> Callable[[], bool]:
    return lambda: watcher.snapshot.state == state


def test_a_visit_in_a_file_is_reported_from_appearing_to_leaving(
    video: Path, detector: FaceDetector
) -> None:
    watcher = FaceWatcher(video, detector, options())
    reader = watcher.events()
    with watcher:
        events = list(reader)
    appeared, selected, left, nobody = events
    assert isinstance(appeared, FaceAppeared)
    assert isinstance(selected, PersonChanged)
    assert isinstance(left, FaceLeft)
    assert isinstance(nobody, PersonChanged)
    assert (selected.person, nobody.person, left.reason) == (1, None, "gone")
    # 30 frames of a face are 1.45 s from the first to the last.
    assert left.dwell_seconds == pytest.approx(1.45, abs=0.06)
    assert left.time - appeared.time == pytest.approx(1.45 - 0.3 + 1.0, abs=0.12)
    last = watcher.snapshot
    assert (last.state, last.frames, last.dropped) == ("ended", 80, 0)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A visit at a rate that a busy machine keeps too, so that no frame is dropped."""
    frames = itertools.chain(
        itertools.repeat(background(), 4), panned(12), itertools.repeat(background(), 12), panned(8)
    )
    return write_video(tmp_path_factory.mktemp("video") / "calm.avi", frames, fps=10)


@pytest.mark.parametrize("pace", ["fast", "file"])
def test_events_and_snapshots_of_a_file_have_the_same_positions_at_any_pace(
    pace: str, calm: Path, detector: FaceDetector
) -> None:
    positions = []

    def note(frame: Frame, snapshot: Snapshot) -> None:
        positions.append((frame.number, frame.position_seconds, snapshot.position_seconds))

    watcher = FaceWatcher(calm, detector, options(pace=pace), on_frame=note)
    reader = watcher.events()
    with watcher:
        events = list(reader)
    assert watcher.snapshot.dropped == 0
    assert positions == [(number, number / 10, number / 10) for number in range(36)]
    assert watcher.snapshot.position_seconds == 3.5
    visits = [event for event in events if not isinstance(event, PersonChanged)]
    assert [(type(event), event.position_seconds) for event in visits] == [
        (FaceAppeared, 0.7),
        (FaceLeft, 2.6),
        (FaceAppeared, 3.1),
        (FaceLeft, 3.5),
    ]
    left = [(event.reason, event.dwell_seconds) for event in visits if isinstance(event, FaceLeft)]
    assert left == [("gone", 1.1), ("ended", 0.7)]


def test_a_camera_has_no_positions(detector: FaceDetector) -> None:
    watcher = FaceWatcher(Camera(scene([(80, 40)])), detector, live())
    with watcher:
        event = watcher.events(after=0).get(5)
        assert event is not None
        assert (event.position_seconds, watcher.snapshot.position_seconds) == (None, None)


def test_the_rounding_of_times_does_not_depend_on_when_the_file_was_opened(calm: Path) -> None:
    steps = set()
    for _ in range(5):
        with open_source(calm, SourceOptions(pace="fast")) as source:
            times = [frame.time for frame in source]
        steps.add(tuple(now - times[0] for now in times))
        time.sleep(0.0123)
    assert len(steps) == 1


def test_faces_that_are_not_followed_are_counted_in_the_snapshot(detector: FaceDetector) -> None:
    frames = [scene([(0, 30), (240, 30)], (240, 400))] * 5
    one = WatchOptions(source=SourceOptions(pace="fast"), tracker=TrackerOptions(max_tracks=1))
    watcher = FaceWatcher(iter(frames), detector, one)
    with watcher:
        assert wait_until(state_is(watcher, "ended"), 10)
    assert watcher.snapshot.untracked >= 1


def test_a_watcher_starts_stops_and_starts_again_with_new_numbers(
    video: Path, detector: FaceDetector
) -> None:
    watcher = FaceWatcher(video, detector, options(pace="file"))
    people = []
    for _ in range(3):
        watcher.start()
        watcher.start()  # nothing more happens
        assert watcher.running
        assert wait_until(lambda: len(watcher.snapshot.persons) == 1)
        people.append(watcher.snapshot.persons[0].id)
        watcher.stop()
        watcher.stop()
        assert not watcher.running
        assert watcher.snapshot.state == "stopped"
        assert answer_is(watcher, "unknown")()
    assert people == [1, 2, 3]
    watcher.close()
    with pytest.raises(EdgeMTCNNError, match="closed"):
        watcher.start()


def test_a_watcher_whose_video_has_just_ended_can_be_started_at_once(
    tmp_path: Path, detector: FaceDetector
) -> None:
    short = write_video(tmp_path / "short.avi", itertools.repeat(background(), 3))
    watcher = FaceWatcher(short, detector, options())
    for _ in range(30):
        watcher.start()
        reader = watcher.events(after=0)
        assert reader.get(5) is None
        assert reader.closed
        assert watcher.snapshot.frames == 3
    watcher.close()


def test_stopping_reports_that_persons_are_no_longer_known(detector: FaceDetector) -> None:
    watcher = FaceWatcher(Camera(scene([(80, 40)])), detector, live())
    reader = watcher.events()
    with watcher:
        assert wait_until(lambda: bool(watcher.snapshot.persons))
    assert [type(event) for event in reader] == [
        FaceAppeared, PersonChanged, FaceLeft, PersonChanged
    ]  # fmt: skip


def test_a_source_that_is_lost_and_back_is_the_same_visit(detector: FaceDetector) -> None:
    camera = Camera(scene([(80, 40)]))
    watcher = FaceWatcher(camera, detector, live())
    reader = watcher.events()
    with watcher:
        assert wait_until(answer_is(watcher, "someone"))
        camera.fault = OSError("cable pulled")
        assert wait_until(state_is(watcher, "lost"))
        assert answer_is(watcher, "unknown")()
        time.sleep(0.5)  # longer than leave_after
        assert len(watcher.snapshot.persons) == 1
        camera.picture = scene([(140, 60)], (300, 400))  # and of another size
        camera.fault = None
        assert wait_until(answer_is(watcher, "someone"))
        assert watcher.snapshot.persons[0].id == 1
        assert watcher.snapshot.reconnects == 1
    events = list(reader)
    lost = next(event for event in events if isinstance(event, SourceLost))
    back = next(event for event in events if isinstance(event, SourceBack))
    assert "cable pulled" in lost.reason
    assert back.lost_seconds == pytest.approx(back.time - lost.time, abs=0.001)
    assert sum(isinstance(event, FaceAppeared) for event in events) == 1


def test_a_camera_that_hangs_is_lost_until_it_goes_on(detector: FaceDetector) -> None:
    camera = Camera(scene([(80, 40)]))
    with FaceWatcher(camera, detector, live()) as watcher:
        assert wait_until(state_is(watcher, "watching"))
        camera.hang.clear()
        assert wait_until(state_is(watcher, "lost"))
        assert "no frame came" in str(watcher.snapshot.source_error)
        camera.hang.set()
        assert wait_until(state_is(watcher, "watching"))


@pytest.mark.parametrize("picture", [0, 90], ids=["dark", "covered"])
def test_a_blind_camera_is_unknown_and_not_nobody(picture: int, detector: FaceDetector) -> None:
    camera = Camera(scene([(80, 40)]))
    watcher = FaceWatcher(camera, detector, live())
    reader = watcher.events()
    with watcher:
        assert wait_until(answer_is(watcher, "someone"))
        camera.picture = np.full((240, 320, 3), picture, np.uint8)
        assert wait_until(state_is(watcher, "blind"))
        assert answer_is(watcher, "unknown")()
        time.sleep(0.4)  # longer than leave_after
        assert len(watcher.snapshot.persons) == 1
        camera.picture = scene([(80, 40)])
        assert wait_until(answer_is(watcher, "someone"))
        assert watcher.snapshot.persons[0].id == 1
    views = [type(e) for e in reader if isinstance(e, (ViewBlocked, ViewCleared))]
    assert views == [ViewBlocked, ViewCleared]


def test_darkness_too_short_to_be_called_blind_makes_nobody_leave(detector: FaceDetector) -> None:
    camera = Camera(scene([(80, 40)]))
    slow = live(blind=BlindOptions(hold_seconds=60))
    with FaceWatcher(camera, detector, slow) as watcher:
        assert wait_until(answer_is(watcher, "someone"))
        camera.picture = np.zeros((240, 320, 3), np.uint8)
        time.sleep(0.6)  # twice leave_after
        assert len(watcher.snapshot.persons) == 1


def test_a_frozen_camera_is_blind(detector: FaceDetector) -> None:
    def frozen() -> Iterator[Image]:
        while True:
            yield scene([(80, 40)])
            time.sleep(0.02)

    blind = live(blind=BlindOptions(frozen_seconds=0.3))
    with FaceWatcher(frozen, detector, blind) as watcher:
        assert wait_until(state_is(watcher, "blind"))
        assert watcher.snapshot.blind_reason == "frozen"


def test_an_empty_scene_is_nobody(detector: FaceDetector) -> None:
    camera = Camera(background())
    camera.hang.clear()
    with FaceWatcher(camera, detector, live()) as watcher:
        assert answer_is(watcher, "unknown")(), "before the first frame"
        camera.hang.set()
        assert wait_until(answer_is(watcher, "nobody"))


def test_stopping_takes_less_than_a_second_while_the_source_hangs(detector: FaceDetector) -> None:
    camera = Camera(background())
    camera.hang.clear()
    watcher = FaceWatcher(camera, detector, live())
    watcher.start()
    time.sleep(0.1)
    started = time.monotonic()
    watcher.stop()
    assert time.monotonic() - started < STOP_SECONDS
    camera.hang.set()


def test_stopping_takes_less_than_a_second_while_a_frame_is_being_processed(
    detector: FaceDetector,
) -> None:
    release = threading.Event()
    hanging: list[bool] = []

    def slow(frame: Frame, snapshot: Snapshot) -> None:
        del frame
        if snapshot.persons:
            hanging.append(True)
            release.wait(20)

    camera = Camera(scene([(80, 40)]))
    watcher = FaceWatcher(camera, detector, live(), on_frame=slow)
    reader = watcher.events()
    watcher.start()
    assert wait_until(lambda: bool(hanging))
    started = time.monotonic()
    watcher.stop()
    assert time.monotonic() - started < STOP_SECONDS
    assert watcher.snapshot.state == "stopped"
    events = list(reader)  # ended, and complete without the thread that hangs
    assert [type(event) for event in events[-2:]] == [FaceLeft, PersonChanged]
    watcher.start()  # a new run, which ignores the events of the old one
    late = watcher.events()
    release.set()
    assert wait_until(answer_is(watcher, "someone"))
    watcher.close()
    heard = list(late)
    appeared = [event for event in heard if isinstance(event, FaceAppeared)]
    left = [event for event in heard if isinstance(event, FaceLeft)]
    assert [event.person for event in appeared] == [2]
    assert [event.person for event in left] == [2]


def test_a_watcher_may_be_stopped_from_its_own_callbacks(detector: FaceDetector) -> None:
    camera = Camera(scene([(80, 40)]))
    by_event = FaceWatcher(camera, detector, live())
    by_event.add_callback(lambda _: by_event.stop())
    by_event.start()
    assert wait_until(lambda: not by_event.running)
    by_frame = FaceWatcher(camera, detector, live(), on_frame=lambda *_: by_frame.stop())
    by_frame.start()
    assert wait_until(lambda: not by_frame.running)
    assert by_frame.snapshot.state == "stopped"


def test_callbacks_get_the_events_and_their_exceptions_stop_nothing(
    video: Path, detector: FaceDetector
) -> None:
    seen: list[Event] = []

    def broken(event: Event) -> None:
        raise RuntimeError(f"cannot take {event.sequence}")

    def broken_frame(frame: Frame, snapshot: Snapshot) -> None:
        raise RuntimeError("no frames for me")

    watcher = FaceWatcher(video, detector, options(), on_frame=broken_frame)
    watcher.add_callback(broken)
    watcher.add_callback(seen.append)
    with watcher:
        assert wait_until(lambda: not watcher.running)
        assert wait_until(lambda: len(seen) == 4)
        assert wait_until(lambda: watcher.callback_errors == 80 + 4)
    assert watcher.snapshot.state == "ended"


def test_no_frame_leaves_a_watcher_unless_asked_for(video: Path, detector: FaceDetector) -> None:
    def holds_image(value: object) -> bool:
        return isinstance(value, (np.ndarray, bytes))

    watcher = FaceWatcher(video, detector, options())
    reader = watcher.events()
    with watcher:
        events = list(reader)
        assert watcher.frame() is None
    values = [getattr(event, field.name) for event in events for field in fields(event)]
    values += [getattr(watcher.snapshot, field.name) for field in fields(Snapshot)]
    assert len(values) > 20
    assert not any(holds_image(value) for value in values)


def test_the_newest_frame_can_be_asked_for(detector: FaceDetector) -> None:
    camera = Camera(background())
    with FaceWatcher(camera, detector, live(), keep_frame=True) as watcher:
        assert wait_until(lambda: watcher.frame() is not None)
        newest = watcher.frame()
        assert newest is not None
        frame, snapshot = newest
        assert frame.number == snapshot.frame
        assert frame.image.shape == (240, 320, 3)
    assert watcher.frame() is None


def test_a_dismissed_person_leaves_and_who_is_found_again_is_another(
    detector: FaceDetector,
) -> None:
    with FaceWatcher(Camera(next(iter(panned(1)))), detector, live()) as watcher:
        reader = watcher.events()
        assert wait_until(answer_is(watcher, "someone"))
        watcher.dismiss(99)  # nobody
        watcher.dismiss(1)
        assert wait_until(lambda: [person.id for person in watcher.snapshot.persons] == [2])
    kinds = [(type(event).__name__, getattr(event, "reason", "")) for event in reader]
    assert kinds.count(("FaceLeft", "dismissed")) == 1
    assert kinds.index(("FaceLeft", "dismissed")) < kinds.index(("FaceLeft", "stopped"))


def test_what_the_detector_knows_does_not_come_back_after_it_was_dismissed() -> None:
    camera = Camera(next(iter(panned(1))))
    with (
        FaceDetector(preset="kiosk") as detector,
        FaceWatcher(camera, detector, live(), keep_frame=True) as watcher,
    ):
        assert wait_until(answer_is(watcher, "someone"))
        newest = watcher.frame()
        assert newest is not None
        frame, snapshot = newest
        (person,) = snapshot.persons
        thing = detector.remember(frame.image, person.face.box, "poster", color="bgr")
        detector.known_false = [thing]
        watcher.dismiss(person.id)
        assert wait_until(answer_is(watcher, "nobody"))
        known = watcher.snapshot.known_false
        assert wait_until(lambda: watcher.snapshot.known_false > known + 2)
        assert watcher.snapshot.tracks == ()
        detector.known_false = ()
        assert wait_until(answer_is(watcher, "someone"))
        assert watcher.snapshot.persons[0].id == 2


def test_waiting_returns_a_newer_snapshot(detector: FaceDetector) -> None:
    with FaceWatcher(Camera(background()), detector, live()) as watcher:
        first = watcher.wait(0, timeout=5)
        second = watcher.wait(first.turn, timeout=5)
        assert second.turn > first.turn
    started = time.monotonic()
    assert watcher.wait(10**9, timeout=0.05).state == "stopped"
    assert time.monotonic() - started < 0.5


def test_the_heartbeat_goes_on_without_frames(detector: FaceDetector) -> None:
    camera = Camera(background())
    camera.hang.clear()
    with FaceWatcher(camera, detector, live()) as watcher:
        first = watcher.heartbeat
        assert wait_until(lambda: watcher.heartbeat > first)
    camera.hang.set()


def test_a_source_that_cannot_come_back_is_reported_as_a_failure(detector: FaceDetector) -> None:
    def once() -> Iterator[Image]:
        yield background()
        raise OSError("broken")

    watcher = FaceWatcher(once(), detector, options())
    with watcher:
        assert wait_until(lambda: not watcher.running)
        assert watcher.snapshot.state == "failed"
        assert isinstance(watcher.failure, SourceError)
        assert "broken" in str(watcher.snapshot.source_error)
        with pytest.raises(SourceError, match="give a function that makes more"):
            watcher.start()


def test_a_missing_file_is_refused_when_the_watcher_is_made(detector: FaceDetector) -> None:
    with pytest.raises(SourceError, match="no such file"):
        FaceWatcher("nothing.mp4", detector)


def test_many_starts_and_faults_leave_no_thread_and_no_descriptor(
    video: Path, detector: FaceDetector
) -> None:
    def run(times: int) -> None:
        for _ in range(times):
            with FaceWatcher(video, detector, options()) as watcher:
                assert wait_until(lambda watcher=watcher: watcher.snapshot.frames > 3)
            camera = Camera(background())
            with FaceWatcher(camera, detector, live()) as watcher:
                assert wait_until(state_is(watcher, "watching"))
                camera.fault = OSError("gone")
                assert wait_until(state_is(watcher, "lost"))

    run(1)
    assert wait_until(lambda: not our_threads())
    before = counts()
    run(5)
    assert wait_until(lambda: counts() <= before), (before, counts())
