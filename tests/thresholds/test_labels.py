"""Labels and annotations: folders, CSV, and the three formats of annotated sets."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_mtcnn.thresholds import AnnotationError, from_csv, from_folders, read_annotations

SamplePath = Callable[[str], Path]


@pytest.fixture
def folder(tmp_path: Path, sample_path: SamplePath) -> Path:
    """Images in a folder: two with a face, one of them in a subfolder, and a cat."""
    images = tmp_path / "images"
    (images / "sub").mkdir(parents=True)
    shutil.copy(sample_path("astronaut"), images / "a.jpg")
    shutil.copy(sample_path("grace_hopper"), images / "sub" / "b.jpg")
    shutil.copy(sample_path("chelsea"), images / "c.jpg")
    return images


# Folders and CSV.


def test_two_folders_give_images_with_and_without_a_face(
    tmp_path: Path, sample_path: SamplePath
) -> None:
    for name, sample in (("yes", "astronaut"), ("no", "chelsea")):
        (tmp_path / name / "deep").mkdir(parents=True)
        shutil.copy(sample_path(sample), tmp_path / name / "deep" / "x.jpg")
    face, nonface = from_folders(tmp_path / "yes", tmp_path / "no")
    assert (face.name, nonface.name) == ("deep/x.jpg", "deep/x.jpg")
    assert face.boxes is None
    assert not face.complete
    assert nonface.complete
    assert nonface.boxes is not None
    assert len(nonface.boxes) == 0


def test_an_image_in_both_folders_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "other.jpg").symlink_to(folder / "a.jpg")
    with pytest.raises(AnnotationError, match=r"a\.jpg is in both folders"):
        from_folders(folder, tmp_path / "links")


def test_folders_that_are_missing_or_empty_are_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnnotationError, match="nowhere"):
        from_folders(folder, tmp_path / "nowhere")
    with pytest.raises(AnnotationError, match="empty has no images"):
        from_folders(folder, tmp_path / "empty")


def csv_of(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "labels.csv"
    file.write_bytes(text.encode("utf-8"))
    return file


@pytest.mark.parametrize(
    "text",
    [
        "path,label,x,y,w,h\na.jpg,face,10,20,30,40\na.jpg,face,50,60,70,80\nc.jpg,nonface,,,,\n",
        (
            "\ufeffpath;label;x;y;w;h\r\na.jpg;Face;10;20;30;40\r\n"
            "a.jpg;1;50;60;70;80\r\nc.jpg;no;;;;\r\n\r\n"
        ),
        'h,w,y,x,label,path\n40,30,20,10,face,"a.jpg"\n80,70,60,50,yes,a.jpg\n,,,,non-face,c.jpg',
    ],
    ids=["plain", "spreadsheet", "columns in another order"],
)
def test_a_csv_file_is_read_as_people_write_it(text: str, tmp_path: Path) -> None:
    face, nonface = from_csv(csv_of(tmp_path, text), tmp_path)
    assert face.path == tmp_path / "a.jpg"
    assert face.boxes is not None
    assert face.boxes.tolist() == [[10, 20, 40, 60], [50, 60, 120, 140]]
    assert not face.complete  # other faces may be there
    assert nonface.complete


def test_a_face_without_a_box_is_somewhere_in_the_image(tmp_path: Path) -> None:
    (image,) = from_csv(csv_of(tmp_path, "path,label\na.jpg,face\n"), tmp_path)
    assert image.boxes is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"csv:1: the first line must name"),
        ("path,label\n", "no line below its header"),
        ("file,label\na.jpg,face\n", "csv:1: the first line must name"),
        ("path,label,x,y\na.jpg,face,1,2\n", "four columns x,y,w,h; got only x,y"),
        ("path,label\na.jpg,dog\n", "csv:2: the label must be face or nonface; got 'dog'"),
        ("path,label\na.jpg\n", "csv:2: needs 2 columns; got 1"),
        ("path,label\n,face\n", "csv:2: the path is empty"),
        ("path,label\na.jpg,face\na.jpg,nonface\n", "csv:3: a.jpg is labelled as face and as"),
        ("path,label\na.jpg,face\na.jpg,face\n", "csv:3: a.jpg occurs twice, see line 2"),
        ("path,label,x,y,w,h\na.jpg,face,1,2,x,4\n", "csv:2: x,y,w,h must be numbers; got 'x'"),
        ("path,label,x,y,w,h\na.jpg,face,1,2,nan,4\n", "csv:2: x,y,w,h must be numbers"),
        ("path,label,x,y,w,h\na.jpg,face,1,2,0,4\n", "w and h must be above 0; got 0 and 4"),
        ("path,label,x,y,w,h\na.jpg,no,1,2,3,4\n", "csv:2: a nonface has no box"),
        ('path,label\n"a.jpg,face\n', "not valid CSV"),
    ],
)
def test_a_wrong_csv_file_is_reported_with_its_line(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=says):
        from_csv(csv_of(tmp_path, text), tmp_path)


def test_a_csv_file_that_is_missing_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"cannot read .*nowhere\.csv"):
        from_csv(tmp_path / "nowhere.csv", tmp_path)
    (tmp_path / "labels.csv").write_bytes(b"path,label\n\xff\xfe.jpg,face\n")
    with pytest.raises(AnnotationError, match="not UTF-8"):
        from_csv(tmp_path / "labels.csv", tmp_path)


# WIDER.

WIDER = """\
a.jpg
2
10 20 30 40 0 0 0 0 0 0
50 60 70 80 1 0 0 1 2 0
c.jpg
0
0 0 0 0 0 0 0 0 0 0
sub/b.jpg
1
1 2 3 4
"""


def wider(tmp_path: Path, images: Path, text: str) -> Any:
    file = tmp_path / "list.txt"
    file.write_text(text)
    return read_annotations(file, images)


def test_a_wider_list_is_read_with_its_invalid_faces_ignored(folder: Path, tmp_path: Path) -> None:
    first, second, third = wider(tmp_path, folder, WIDER)
    assert [image.name for image in (first, second, third)] == ["a.jpg", "c.jpg", "sub/b.jpg"]
    assert first.path == folder / "a.jpg"
    assert first.boxes.tolist() == [[10, 20, 40, 60], [50, 60, 120, 140]]
    assert first.counted.tolist() == [True, False]
    assert len(second.boxes) == 0
    assert third.boxes.tolist() == [[1, 2, 4, 6]]
    assert all(image.complete for image in (first, second, third))


def test_a_face_without_a_size_is_ignored(folder: Path, tmp_path: Path) -> None:
    (image,) = wider(tmp_path, folder, "a.jpg\n1\n5 5 0 9 0 0 0 0 0 0\n")
    assert image.counted.tolist() == [False]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no images"),
        ("a.jpg\nmany\n", "txt:2: expected the number of faces, got 'many'"),
        ("a.jpg\n", "txt:2: expected the number of faces, got ''"),
        ("a.jpg\n2\n1 2 3 4\n", "txt:4: the file ends where"),
        ("a.jpg\n1\n1 2 3\n", "txt:3: a face is x y w h"),
        ("a.jpg\n1\n1 2 3 x\n", "txt:3: the values of a face must be numbers; got 'x'"),
        ("a.jpg\n0\na.jpg\n0\n", "txt:3: a.jpg occurs twice"),
        ("a.jpg\n1\n1 2 3 4\n5 6 7 8\n", "the number of faces above may be too small"),
    ],
)
def test_a_wrong_wider_list_is_reported_with_its_line(
    text: str, says: str, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(AnnotationError, match=says):
        wider(tmp_path, folder, text)


# COCO.


def coco(tmp_path: Path, folder: Path, category: str | None = None, **changes: Any) -> Any:
    content: dict[str, Any] = {
        "images": [
            {"id": 1, "file_name": "a.jpg", "width": 512, "height": 512},
            {"id": 2, "file_name": "c.jpg"},
        ],
        "annotations": [
            {"image_id": 1, "category_id": 7, "bbox": [10, 20, 30, 40]},
            {"image_id": 1, "category_id": 7, "bbox": [50, 60, 70, 80], "iscrowd": 1},
        ],
        "categories": [{"id": 7, "name": "face"}],
    }
    file = tmp_path / "coco.json"
    file.write_text(json.dumps({**content, **changes}))
    return read_annotations(file, folder, category=category)


def test_a_coco_file_is_read_with_its_crowds_ignored(folder: Path, tmp_path: Path) -> None:
    first, second = coco(tmp_path, folder)
    assert first.boxes.tolist() == [[10, 20, 40, 60], [50, 60, 120, 140]]
    assert first.counted.tolist() == [True, False]
    assert first.size == (512, 512)
    assert second.size is None
    assert len(second.boxes) == 0


def test_keypoints_are_found_by_their_names_in_any_order(folder: Path, tmp_path: Path) -> None:
    names = ["nose", "left_eye", "right_eye", "mouth_left", "mouth_right", "chin"]
    keypoints = [float(value) for n in range(6) for value in (n, 10 * n, 2)]
    entry = {"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "keypoints": keypoints}
    hidden = {**entry, "keypoints": [*keypoints[:5], 0, *keypoints[6:]]}
    image, _ = coco(
        tmp_path,
        folder,
        annotations=[entry, hidden],
        categories=[{"id": 7, "name": "face", "keypoints": names}],
    )
    assert image.landmarks[0].tolist() == [[1, 10], [2, 20], [0, 0], [3, 30], [4, 40]]
    assert np.isnan(image.landmarks[1]).all()


def test_of_several_categories_that_called_face_or_the_named_one_counts(
    folder: Path, tmp_path: Path
) -> None:
    both = [{"id": 3, "name": "person"}, {"id": 7, "name": "Face"}]
    assert len(coco(tmp_path, folder, categories=both)[0].boxes) == 2
    assert len(coco(tmp_path, folder, "person", categories=both)[0].boxes) == 0
    assert len(coco(tmp_path, folder, "7", categories=both)[0].boxes) == 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"images": None}, "needs the lists images and annotations"),
        ({"images": [3]}, r"images\[0\] must be an object"),
        ({"images": [{"id": 1}]}, r"images\[0\] has no file_name"),
        ({"images": [{"id": 1, "file_name": "a"}] * 2}, "id 1 occurs twice"),
        ({"annotations": [{"image_id": 9, "bbox": [1, 2, 3, 4]}]}, "no image with the id 9"),
        ({"annotations": [{"image_id": 1}]}, r"annotations\[0\] has no bbox"),
        ({"annotations": [{"image_id": 1, "bbox": [1, 2, 3]}]}, "bbox must be x, y, width"),
        ({"annotations": [{"image_id": 1, "bbox": [1, 2, -3, 4]}]}, "must not be below 0"),
        ({"annotations": [{"image_id": 1, "bbox": [1, 2, "w", 4]}]}, "bbox must be numbers"),
        ({"categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}, "cat, dog"),
    ],
)
def test_a_wrong_coco_file_is_reported_with_its_entry(
    changes: dict[str, Any], says: str, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(AnnotationError, match=says):
        coco(tmp_path, folder, **changes)


def test_a_coco_file_without_valid_json_is_reported_with_its_line(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "coco.json").write_text('{\n"images": [}\n')
    with pytest.raises(AnnotationError, match=r"coco\.json:2: not valid JSON"):
        read_annotations(tmp_path / "coco.json", folder)


# YOLO.


def yolo(
    tmp_path: Path, images: Path, files: dict[str, str], category: str | None = None
) -> dict[str, Any]:
    labels = tmp_path / "labels"
    for name, text in files.items():
        (labels / name).parent.mkdir(parents=True, exist_ok=True)
        (labels / name).write_text(text)
    found = read_annotations(labels, images, category=category)
    return {image.name: image for image in found}


def test_yolo_labels_are_read_as_fractions_and_an_image_without_one_has_no_face(
    folder: Path, tmp_path: Path
) -> None:
    files = {"a.txt": "0 0.5 0.5 0.25 0.5\n", "sub/b.txt": "", "classes.txt": "face\n"}
    images = yolo(tmp_path, folder, files)
    assert sorted(images) == ["a.jpg", "c.jpg", "sub/b.jpg"]
    assert images["a.jpg"].in_pixels(512, 512).boxes.tolist() == [[192, 128, 320, 384]]
    assert images["a.jpg"].in_pixels(100, 200).boxes.tolist() == [[75, 25, 125, 75]]
    assert len(images["c.jpg"].boxes) == len(images["sub/b.jpg"].boxes) == 0


@pytest.mark.parametrize("visibility", [False, True])
def test_yolo_landmarks_are_read_with_and_without_visibility(
    visibility: bool, folder: Path, tmp_path: Path
) -> None:
    points = " ".join(f"0.{n} 0.{n + 1}{' 2' * visibility}" for n in range(1, 6))
    image = yolo(tmp_path, folder, {"a.txt": f"0 .5 .5 .2 .2 {points}"})["a.jpg"]
    expected = [[10 * n, 20 * (n + 1)] for n in range(1, 6)]
    assert image.in_pixels(200, 100).landmarks[0] == pytest.approx(np.array(expected))


@pytest.mark.parametrize(
    "last", ["0 0", "-1 -1", "0.5 0.6 0", "0 0 0"], ids=["zero", "minus", "hidden", "none"]
)
def test_a_face_with_a_point_that_is_not_annotated_has_no_landmarks(
    last: str, folder: Path, tmp_path: Path
) -> None:
    seen = " 2" if len(last.split()) == 3 else ""
    points = " ".join([f"0.3 0.4{seen}"] * 4)
    image = yolo(tmp_path, folder, {"a.txt": f"0 .5 .5 .2 .2 {points} {last}"})["a.jpg"]
    assert image.counted.tolist() == [True]
    assert np.isnan(image.landmarks).all()


def test_files_beside_the_labels_are_none_unless_an_image_has_their_name(
    folder: Path, tmp_path: Path
) -> None:
    files = {"a.txt": "0 .5 .5 .2 .2", "train.txt": "data/a.jpg", "README.roboflow.txt": "Hello"}
    assert sorted(yolo(tmp_path, folder, files)) == ["a.jpg", "c.jpg", "sub/b.jpg"]
    (folder / "c.jpg").rename(folder / "test.jpg")
    images = yolo(tmp_path, folder, {"test.txt": "0 .5 .5 .2 .2"})
    assert len(images["test.jpg"].boxes) == 1


def test_a_box_may_reach_over_the_edge_by_what_programs_round(folder: Path, tmp_path: Path) -> None:
    image = yolo(tmp_path, folder, {"a.txt": "0 1.0000001 -0.0000001 .2 .2"})["a.jpg"]
    assert image.counted.tolist() == [True]


def test_of_several_classes_the_named_one_counts(folder: Path, tmp_path: Path) -> None:
    files = {"a.txt": "0 .5 .5 .2 .2\n1 .5 .5 .4 .4\n"}
    with pytest.raises(AnnotationError, match="choose one of 0, 1"):
        yolo(tmp_path, folder, files)
    assert len(yolo(tmp_path, folder, files, "1")["a.jpg"].boxes) == 1


def test_a_label_without_its_image_is_an_image_that_cannot_be_read(
    folder: Path, tmp_path: Path
) -> None:
    images = yolo(tmp_path, folder, {"gone.txt": "0 .5 .5 .2 .2"})
    assert not images["gone.jpg"].path.exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0 .5 .5 .2", r"a\.txt:1: a face is class cx cy w h"),
        ("\n0 .5 .5 .2 x", r"a\.txt:2: the values of a face must be numbers; got 'x'"),
        ("0.5 .5 .5 .2 .2", "class must be a whole number"),
        ("0 120 80 30 40", "fractions of the image's size, 0..1; got 120 80 30 40"),
    ],
)
def test_a_wrong_yolo_file_is_reported_with_its_line(
    text: str, says: str, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(AnnotationError, match=says):
        yolo(tmp_path, folder, {"a.txt": text})


# Which format.


def test_a_format_that_cannot_be_guessed_or_is_unknown_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(AnnotationError, match="choose one of wider, coco, yolo"):
        read_annotations(tmp_path / "labels.xml", folder)
    with pytest.raises(AnnotationError, match="format must be one of"):
        read_annotations(tmp_path / "labels.txt", folder, form="voc")
    with pytest.raises(AnnotationError, match="no folder of images"):
        read_annotations(tmp_path / "labels.txt", tmp_path / "nowhere")
