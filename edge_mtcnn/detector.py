"""``FaceDetector``: an image through the cascade, where options, sessions and stages meet."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from edge_mtcnn._version import __version__
from edge_mtcnn.boxes import square
from edge_mtcnn.errors import EdgeMTCNNError, OptionsError
from edge_mtcnn.image import as_rgb
from edge_mtcnn.options import DetectorOptions, RuntimeOptions, load_options
from edge_mtcnn.pyramid import AreaSampler, OctaveSampler, Sampler, pyramid_scales
from edge_mtcnn.sessions import Networks, open_networks, preferred_form, runtime_version
from edge_mtcnn.stages import (
    ONET_CHUNK,
    RNET_CHUNK,
    Candidates,
    Found,
    finish,
    in_source,
    propose,
    refine,
)
