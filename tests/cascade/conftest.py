"""What several tests of the cascade need."""

from __future__ import annotations

import pytest

from edge_mtcnn.cascade.networks import Networks
from edge_mtcnn.runtime.models import load_manifest
from edge_mtcnn.runtime.sessions import open_networks


@pytest.fixture(scope="session")
def networks() -> Networks:
    """The real networks, in the form that fits every processor."""
    return open_networks(load_manifest().models("plain"), "cpu")
