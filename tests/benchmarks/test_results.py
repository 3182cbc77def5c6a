"""The one schema of results, and ``compare``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from figures import result, saved

from benchmarks import compare
from benchmarks.common.results import (
    Result,
    ResultsError,
    Target,
    check,
    document,
    read,
    share,
    table,
    write,
)


def test_a_document_says_on_what_how_and_what_was_measured(tmp_path: Path) -> None:
    target = Target(name="t", limit=3.0, at_least=True, value=2.0)
    given = result(samples=(9.0, 10.0, 11.0), relative=2.0)
    content = document("latency", [given], settings={"rounds": 3}, targets=[target])
    write(tmp_path / "folder" / "r.json", content)
    back = read(tmp_path / "folder" / "r.json")
    assert back == json.loads(json.dumps(content))
    assert back["machine"]["threads"] >= 1
    assert {"python", "edge-mtcnn", "numpy", "onnxruntime"} <= back["versions"].keys()
    assert back["targets"][0]["reached"] is False
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["r.json"]


@pytest.mark.parametrize(
    "name",
    ["schema_version", "benchmark", "created", "machine", "versions", "commit", "settings",
     "images", "results", "targets"],
)  # fmt: skip
def test_a_document_without_one_of_its_fields_is_refused(name: str) -> None:
    content = document("latency", [result()], settings={})
    check(content)
    del content[name]
    with pytest.raises(ResultsError, match=name):
        check(content)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 99}, "99"),
        ({"machine": {"cpu": "x"}}, "machine lacks system"),
        ({"results": {}}, "'results' is a dict"),
        ({"results": [{"name": "a"}]}, "not of the schema"),
        ({"results": [{"name": "a", "unit": "", "value": "1"}]}, "must be numbers"),
        ({"results": [{"name": "a", "unit": "", "value": 1, "better": "up"}]}, "better"),
        ({"results": [{"name": "a", "unit": "", "value": 1}] * 2}, "there twice"),
        ({"results": [{"name": "a", "unit": "", "value": 1, "interval": [2, 3]}]}, "two limits"),
        ({"results": [{"name": "a", "unit": "", "value": 1, "interval": 1}]}, "two limits"),
    ],
)
def test_a_document_of_another_form_is_refused(change: dict[str, Any], said: str) -> None:
    content = {**document("latency", [], settings={}), **change}
    with pytest.raises(ResultsError, match=said):
        check(content)


def test_a_figure_that_is_no_number_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        saved(tmp_path, "r.json", result(value=math.nan))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_document_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    file.write_text("{}")
    for path in (file, tmp_path / "absent.json"):
        with pytest.raises(ResultsError, match=path.name):
            read(path)


def test_numbers_in_a_table_stand_to_the_right() -> None:
    lines = table([("a", 1.0), ("long", 100.0)], ("name", "ms")).splitlines()
    assert lines == ["name    ms", "----  ----", "a     1.00", "long   100"]


# Comparing.


@pytest.mark.parametrize(
    ("new", "code"),
    [
        (result(value=10.0), compare.DONE),
        (result(value=11.4), compare.DONE),
        (result(value=11.6), compare.REGRESSED),
        (result(value=5.0), compare.DONE),
        (result(value=10.0, better="none"), compare.UNUSABLE),
        (result(name="time/b"), compare.UNUSABLE),
    ],
)
def test_compare_exits_1_where_a_figure_is_worse_than_the_ratio_allows(
    tmp_path: Path, new: Result, code: int
) -> None:
    files = [str(saved(tmp_path, "old.json", result())), str(saved(tmp_path, "new.json", new))]
    assert compare.main([*files, "--max-ratio", "1.15"]) == code


def test_compare_goes_by_the_reference_job_where_both_have_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = saved(tmp_path, "old.json", result(value=10.0, relative=2.0))
    # Twice the time on a machine of half the speed is no regression; the same time there is a gain.
    slow_machine = saved(tmp_path, "slow.json", result(value=20.0, relative=2.0))
    regression = saved(tmp_path, "new.json", result(value=10.0, relative=3.0))
    assert compare.main([str(old), str(slow_machine)]) == compare.DONE
    assert compare.main([str(old), str(regression)]) == compare.REGRESSED
    assert "WORSE" in capsys.readouterr().out


def test_compare_knows_which_way_is_worse(tmp_path: Path) -> None:
    old = saved(tmp_path, "old.json", result(better="higher"))
    for value, code in ((8.0, compare.REGRESSED), (12.0, compare.DONE)):
        new = saved(tmp_path, "new.json", result(value=value, better="higher"))
        assert compare.main([str(old), str(new)]) == code


@pytest.mark.parametrize("gone", [0.0, -1.0])
def test_a_figure_that_fell_to_nothing_is_a_regression_where_more_is_better(
    tmp_path: Path, gone: float
) -> None:
    old = saved(tmp_path, "old.json", result(better="higher"))
    new = saved(tmp_path, "new.json", result(value=gone, better="higher"))
    assert compare.main([str(old), str(new)]) == compare.REGRESSED


@pytest.mark.parametrize(
    ("better", "new", "code"),
    [
        ("higher", 0.86, compare.DONE),
        ("higher", 0.80, compare.REGRESSED),
        ("higher", 1.00, compare.DONE),
        ("lower", 0.94, compare.DONE),
        ("lower", 0.99, compare.REGRESSED),
        ("lower", 0.00, compare.DONE),
    ],
)
def test_a_share_is_a_regression_where_it_is_worse_than_the_old_interval(
    tmp_path: Path, better: str, new: float, code: int
) -> None:
    base = share("found", 90, 100, better=better)
    assert base.interval == pytest.approx((0.8238, 0.9510), abs=1e-4)
    old = saved(tmp_path, "old.json", base)
    changed = share("found", round(100 * new), 100, better=better)
    # The ratio does not count: it would allow any of them, and none.
    for ratio in ("10", "1"):
        files = [str(old), str(saved(tmp_path, "new.json", changed))]
        assert compare.main([*files, "--max-ratio", ratio]) == code


@pytest.mark.parametrize("light", ["1", "0.22"])
@pytest.mark.parametrize("at", ["0.5", "1 in 400"])
def test_the_worst_group_of_the_baseline_cannot_become_worse_unseen(
    tmp_path: Path, project_root: Path, light: str, at: str, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline = project_root / "benchmarks" / "results" / "people.json"
    name = f"accuracy/default/people x {light}/{at}/worst group"
    content = read(baseline)
    (worst,) = (entry for entry in content["results"] if entry["name"] == name)
    low = worst["interval"][0]
    for value, code in ((low - 0.001, compare.REGRESSED), (low + 0.001, compare.DONE)):
        worst.update(value=value, interval=None)
        write(tmp_path / "new.json", content)
        assert compare.main([str(baseline), str(tmp_path / "new.json")]) == code
        lines = capsys.readouterr().out.splitlines()
        assert [line.startswith(name) for line in lines if "WORSE" in line] == [True] * code


def test_compare_refuses_files_of_two_benchmarks_and_no_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = saved(tmp_path, "old.json", result())
    other = saved(tmp_path, "other.json", result(), benchmark="memory")
    assert compare.main([str(old), str(other)]) == compare.UNUSABLE
    assert compare.main([str(old), str(tmp_path / "absent.json")]) == compare.UNUSABLE
    assert "absent.json" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        compare.main([str(old), str(old), "--max-ratio", "0.9"])
