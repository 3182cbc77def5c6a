"""Fixtures that more than one test file uses: folders, sample photos and loaded detectors."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from edge_mtcnn import FaceDetector
    from edge_mtcnn.cascade.networks import Networks

ROOT = Path(__file__).resolve().parent.parent

# A shell starts its background jobs deaf to Ctrl-C, and so would be the commands under test.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The checkout, or the unpacked sdist."""
    return ROOT


@pytest.fixture(scope="session")
def sample_path() -> Callable[[str], Path]:
    """Find a photo of samples/ by name, ``astronaut`` or ``astronaut.jpg``; these always exist."""

    def find(name: str) -> Path:
        path = ROOT / "samples" / (name if "." in name else f"{name}.jpg")
        assert path.is_file(), f"samples/ has no {path.name}"
        return path

    return find


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images and golden results beside the checkout."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("no ../shared/data beside the checkout: its images may not be redistributed")
    return folder


@pytest.fixture(scope="session")
def networks() -> Networks:
    """The real networks, in the form that suits every processor."""
    from edge_mtcnn.runtime.models import load_manifest
    from edge_mtcnn.runtime.sessions import open_networks

    return open_networks(load_manifest().models("plain"), "cpu")


@pytest.fixture(scope="session")
def reference_detector() -> Iterator[FaceDetector]:
    """A loaded detector that follows the reference cascade exactly."""
    from edge_mtcnn import FaceDetector

    with FaceDetector(preset="reference") as detector:
        yield detector


@pytest.fixture(scope="session")
def default_detector() -> Iterator[FaceDetector]:
    """A loaded detector as a user gets it without arguments."""
    from edge_mtcnn import FaceDetector

    with FaceDetector(preset="default") as detector:
        yield detector
