"""``edge-mtcnn tune``: what is tried, how one is chosen, and the file that everything reads."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from edge_mtcnn import (
    DetectorOptions,
    FaceDetector,
    Faces,
    ModelFileError,
    RuntimeOptions,
    read_image,
)
from edge_mtcnn.cli import main
from edge_mtcnn.options import load_options
from edge_mtcnn.runtime.models import load_manifest
from edge_mtcnn.runtime.workers import available_threads
from edge_mtcnn.speed import timing
from edge_mtcnn.speed import tuning as module
from edge_mtcnn.speed.tuning import Trial, Tuning, pick, tune
from edge_mtcnn.types import Timings

QUICK = 0.05  # seconds for each value; the five rounds that are always taken come on top
NO_TOML = pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 reads no TOML")


@pytest.fixture(scope="module")
def photo() -> Any:
    root = Path(__file__).resolve().parents[2]
    return read_image(root / "samples" / "astronaut.jpg")


def timed(value: Any, ratio: float, memory_mb: float | None = None) -> Trial:
    return Trial(setting="threads", value=value, median_ms=10 * ratio, ratio=ratio,
                 memory_mb=memory_mb)  # fmt: skip


# Choosing.


def test_the_fastest_is_chosen() -> None:
    assert pick([timed(1, 1.9), timed(2, 1.0), timed(4, 1.2)]).value == 2


def test_the_preferred_value_wins_where_another_is_hardly_faster() -> None:
    assert pick([timed(1, 1.9), timed(2, 1.02), timed(4, 1.0)]).value == 2
    assert pick([timed(1, 1.9), timed(2, 1.05), timed(4, 1.0)]).value == 4


def test_a_value_with_an_error_is_never_chosen() -> None:
    failed = timed("plain", 0.5)
    failed.error = "finds other faces than auto"
    assert pick([failed, timed("auto", 1.0)]).value == "auto"


def test_memory_decides_where_there_is_a_limit() -> None:
    trials = [timed(1, 1.9, 100), timed(2, 1.0, 120), timed(4, 0.8, 200)]
    assert pick(trials, 150).value == 2
    assert trials[2].error == "needs more than 150 MB"


def test_the_least_memory_is_taken_where_all_are_over_the_limit() -> None:
    chosen = pick([timed(1, 1.9, 100), timed(2, 1.0, 120)], 50)
    assert chosen.value == 1
    assert chosen.error is not None


def test_a_limit_does_not_matter_where_memory_is_not_reported() -> None:
    assert pick([timed(1, 1.9), timed(2, 1.0)], 50).value == 2


# Trying.


def test_every_form_and_number_of_threads_is_tried_and_one_of_each_is_chosen(photo: Any) -> None:
    said: list[str] = []
    found = tune([photo], DetectorOptions(min_face_size=40), RuntimeOptions(), seconds=QUICK,
                 report=said.append)  # fmt: skip
    tried = {
        name: [t for t in found.trials if t.setting == name] for name in ("form", "threads")
    }  # fmt: skip
    forms = load_manifest().forms
    assert len(tried["form"]) == len(forms)
    assert {trial.runs for trial in tried["form"]} == set(forms)
    assert tried["form"][0].value == "auto"
    assert tried["threads"][-1].value is None  # all that are available
    assert tried["threads"][-1].runs == str(available_threads())
    for trials in tried.values():
        assert [trial.chosen for trial in trials].count(True) == 1
        assert min(trial.ratio or 0.0 for trial in trials) == 1.0
        assert all(trial.error is None and (trial.median_ms or 0) > 0 for trial in trials)
    chosen = {name: next(t.value for t in trials if t.chosen) for name, trials in tried.items()}
    assert (found.runtime.form, found.runtime.threads) == (chosen["form"], chosen["threads"])
    assert all(trial.memory_mb is None or trial.memory_mb > 30 for trial in tried["threads"])
    trying = [line.split(":")[0] for line in said if ": trying " in line]
    assert trying == ["form", "threads"]
    json.dumps(found.to_dict())


def test_no_more_threads_are_tried_than_allowed(photo: Any) -> None:
    found = tune([photo], DetectorOptions(min_face_size=80), RuntimeOptions(threads=7),
                 seconds=QUICK, max_threads=1)  # fmt: skip
    assert [t.runs for t in found.trials if t.setting == "threads"] == ["1"]


def test_powers_of_two_and_the_most_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available_threads", lambda: 6)
    assert module._thread_counts(None) == [1, 2, 4, None]
    assert module._thread_counts(3) == [1, 2, 3]
    assert module._thread_counts(99) == [1, 2, 4, None]
    monkeypatch.setattr(module, "available_threads", lambda: 1)
    assert module._thread_counts(None) == [None]


def test_a_device_that_does_not_start_is_reported_and_skipped(
    photo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("CUDAExecutionProvider", "CPUExecutionProvider")
    monkeypatch.setattr(module, "available_providers", lambda: names)
    found = tune([photo], DetectorOptions(min_face_size=80), RuntimeOptions(device="auto"),
                 seconds=QUICK, max_threads=1)  # fmt: skip
    cpu, cuda = (t for t in found.trials if t.setting == "device")
    if cuda.error is None:
        pytest.skip("CUDA starts on this machine")
    assert "CUDAExecutionProvider" in cuda.error
    assert cpu.chosen
    assert found.runtime.device == "cpu"


def test_a_form_that_finds_other_faces_is_not_chosen(
    photo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "same_faces", lambda first, second: first is second)
    found = tune([photo], DetectorOptions(min_face_size=80), RuntimeOptions(), seconds=QUICK,
                 max_threads=1)  # fmt: skip
    first, *others = (t for t in found.trials if t.setting == "form")
    assert first.chosen
    assert others
    assert all(trial.error == "finds other faces than auto" for trial in others)


def test_nothing_that_works_is_an_error_with_its_reason(photo: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"manifest\.json"):
        tune([photo], DetectorOptions(), RuntimeOptions(models=tmp_path), seconds=QUICK)


def test_memory_that_cannot_be_measured_leaves_the_choice_to_the_times(
    photo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = "raise SystemExit('no memory today')"
    monkeypatch.setattr("edge_mtcnn.board.new_process._PROGRAM", failing)
    found = tune([photo], DetectorOptions(min_face_size=80), RuntimeOptions(), seconds=QUICK,
                 max_threads=1, max_memory_mb=1.0)  # fmt: skip
    [trial] = [t for t in found.trials if t.setting == "threads"]
    assert trial.chosen
    assert (trial.memory_mb, trial.error) == (None, None)


# Noise. The clock is a fake one, so every time is known.


class Clock:
    """Time that passes only when a detector works."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class FakeDetector:
    """Takes the time of its form, times noise with long bursts, as a busy machine does."""

    seconds: ClassVar[dict[str, float]] = {}
    noise = 0.0

    def __init__(self, clock: Clock, chance: np.random.Generator, runtime: RuntimeOptions) -> None:
        self._clock = clock
        self._chance = chance
        self._form = "blocked" if runtime.form == "auto" else runtime.form

    def __enter__(self) -> FakeDetector:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def info(self) -> dict[str, Any]:
        return {"form": self._form, "threads": 1}

    def detect(self, image: Any, *, timings: bool) -> Faces:
        assert timings
        del image
        busy = 3.0 if self.noise and int(self._clock.now / 0.7) % 3 == 0 else 1.0
        factor = busy * float(np.exp(self._chance.normal(0, self.noise)))
        self._clock.now += self.seconds[self._form] * factor
        stages = dict.fromkeys((*(f"{name}_ms" for name in timing.STAGES), "total_ms"), 1.0)
        windows = {"levels": (), "rnet_windows": 0, "onet_windows": 0}
        return Faces.empty((8, 8), Timings(**stages, **windows))  # type: ignore[arg-type]


@pytest.fixture
def forms(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, float, list[str], Tuning]]:
    """Tunes the form on a made-up machine: the choice, the seconds it took, and what was said."""

    def tuned(
        blocked: float, plain: float, noise: float, *, seed: int = 1, seconds: float = 30.0
    ) -> tuple[str, float, list[str], Tuning]:
        clock, chance, said = Clock(), np.random.default_rng(seed), list[str]()
        monkeypatch.setattr(FakeDetector, "seconds", {"blocked": blocked, "plain": plain})
        monkeypatch.setattr(FakeDetector, "noise", noise)
        monkeypatch.setattr(timing, "time", clock)

        def fake(options: Any = None, runtime: Any = None) -> FakeDetector:
            del options
            return FakeDetector(clock, chance, runtime)

        monkeypatch.setattr(module, "FaceDetector", fake)
        monkeypatch.setattr(module, "_memory", lambda *_: None)
        monkeypatch.setattr(module, "available_threads", lambda: 1)
        image = np.zeros((8, 8, 3), dtype=np.uint8)
        found = tune([image], DetectorOptions(), RuntimeOptions(), seconds=seconds,
                     report=said.append)  # fmt: skip
        return found.runtime.form, clock.now, said, found

    return tuned


def test_a_clear_difference_takes_the_fewest_rounds(forms: Any) -> None:
    form, seconds, _, found = forms(0.1, 0.05, 0.0)
    assert form == "plain"
    assert found.undecided == ()
    assert seconds < 20 * (0.1 + 0.05) + 20 * 0.1  # 16 rounds of both, then of the one thread count


def test_noise_is_answered_with_more_rounds(forms: Any) -> None:
    _, calm, _, _ = forms(0.1, 0.085, 0.0)
    form, noisy, said, found = forms(0.1, 0.085, 0.25, seconds=120)
    assert form == "plain"
    assert noisy > 3 * calm
    assert found.undecided == ()
    progress = [line for line in said if "rounds" in line]
    assert len(progress) >= 2
    assert re.fullmatch(
        r"form: \d+ rounds, against auto: plain \d+\.\d% (faster|slower), \+/- \d+\.\d%",
        progress[0],
    )


def test_under_noise_the_slower_setting_is_never_chosen(forms: Any) -> None:
    chosen = [forms(0.1, 0.102, 0.3, seed=seed, seconds=5)[0] for seed in range(60)]
    assert chosen == ["auto"] * 60


def test_a_difference_within_the_noise_keeps_the_default_and_is_reported(forms: Any) -> None:
    form, _, _, found = forms(0.1, 0.095, 0.5, seconds=3)
    assert form == "auto"
    assert found.undecided == ("form",)
    plain = next(trial for trial in found.trials if trial.value == "plain")
    assert plain.better is None
    assert plain.noise > 0.03


def test_fewer_threads_must_surely_be_as_fast() -> None:
    default = Trial(setting="threads", value=None, ratio=1.0, better=True)
    for better, choice in ((True, 2), (None, None), (False, None)):
        fewer = Trial(setting="threads", value=2, ratio=1.01, noise=0.01, better=better)
        assert pick([fewer, default]).value == choice


def test_the_interval_of_the_median_is_as_wide_as_it_says() -> None:
    chance = np.random.default_rng(7)
    outside = 0
    for _ in range(2000):
        low, high = timing.median_interval(list(chance.lognormal(0, 1, 40)))
        outside += not low <= 1 <= high
    assert outside <= 14  # 0.3 % of 2000 are 6; more than 14 would be rare
    assert timing.median_interval([1.0] * 15) == (-math.inf, math.inf)
    assert timing.median_interval([1.0] * 16) == (1.0, 1.0)


# The command and its file.


@pytest.mark.parametrize("name", ["tuned.json", pytest.param("tuned.toml", marks=NO_TOML)])
def test_the_file_of_tune_is_read_by_the_detector_and_by_other_commands(
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    sample_path: Callable[[str], Path],
) -> None:
    file = tmp_path / name
    photo = str(sample_path("astronaut"))
    arguments = ["--preset", "kiosk", "--max-threads", "1", "--seconds", str(QUICK)]
    assert main(["tune", photo, *arguments, "--output", str(file)]) == 0
    output = capsys.readouterr()
    assert "chosen" in output.out
    assert f"--config {file}" in output.err

    options, runtime = load_options(file)
    assert options == DetectorOptions.from_preset("kiosk")
    assert runtime.device == "cpu"
    assert (runtime.threads or available_threads()) == 1
    with FaceDetector(config=file) as detector:
        assert detector.info()["threads"] == 1
        assert detector.options == options
    assert main(["detect", photo, "--config", str(file), "--json", "-"]) == 0
    assert len(json.loads(capsys.readouterr().out)["faces"]) == 1


def test_a_file_of_the_defaults_holds_the_runtime_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sample_path: Callable[[str], Path]
) -> None:
    file = tmp_path / "tuned.json"
    arguments = ["tune", str(sample_path("chelsea")), "--max-threads", "1", "--json"]
    assert main([*arguments, "--seconds", str(QUICK), "--output", str(file)]) == 0
    assert set(json.loads(file.read_text())) == {"runtime"}
    output = json.loads(capsys.readouterr().out)
    assert output["runtime"] == json.loads(file.read_text())["runtime"]
    assert {trial["setting"] for trial in output["trials"]} >= {"form", "threads"}


def test_a_limit_that_nothing_keeps_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sample_path: Callable[[str], Path]
) -> None:
    file = tmp_path / "tuned.json"
    arguments = ["tune", str(sample_path("chelsea")), "--max-threads", "1", "--max-memory", "5"]
    assert main([*arguments, "--seconds", str(QUICK), "--output", str(file)]) == 0
    assert "no setting fits: the chosen one needs more than 5 MB" in capsys.readouterr().err
    assert file.is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--output", "tuned.yaml"], ".json or .toml"),
        (["--output", "tuned"], "such as tuned.json"),
        (["--output", "./"], "is a folder"),
        (["--json", "tuned.json"], "--json > tuned.json"),
        (["--output", "no/such/folder/tuned.json"], "there is no folder"),
        (["--seconds", "0"], "--seconds must be above 0"),
        (["--max-threads", "0"], "--max-threads must be above 0"),
        (["--max-memory=-3"], "--max-memory must be above 0"),
        (["nowhere.jpg"], "nowhere.jpg"),
        (["--device", "NoSuchProvider"], "NoSuchProvider"),
    ],
)
def test_tune_says_what_is_wrong_before_it_tries_anything(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["tune", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.version_info >= (3, 11), reason="newer Python reads TOML")
def test_tune_writes_no_file_that_this_python_cannot_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", "--output", str(tmp_path / "tuned.toml")]) == 2
    assert ".json" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_tune_is_refused_at_the_start_where_it_may_not_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o555)
    assert main(["tune", "--output", str(tmp_path / "tuned.json")]) == 2
    assert "cannot write to the folder" in capsys.readouterr().err


def test_an_image_of_any_size_can_be_tuned_with(tmp_path: Path) -> None:
    tiny = np.zeros((8, 8, 3), dtype=np.uint8)
    found = tune([tiny], DetectorOptions(), RuntimeOptions(), seconds=QUICK, max_threads=1)
    assert found.runtime.form
