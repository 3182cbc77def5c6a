"""Many images, archives and videos, on one machine or on a cluster: ``run_bulk``."""

from __future__ import annotations

from edge_mtcnn.bulk.dataset import Totals
from edge_mtcnn.bulk.options import BulkOptions, EngineOptions, Every
from edge_mtcnn.bulk.run import Listener, run_bulk
from edge_mtcnn.bulk.schema import SCHEMA_VERSION
from edge_mtcnn.bulk.work import Failure

__all__ = [
    "SCHEMA_VERSION",
    "BulkOptions",
    "EngineOptions",
    "Every",
    "Failure",
    "Listener",
    "Totals",
    "run_bulk",
]
