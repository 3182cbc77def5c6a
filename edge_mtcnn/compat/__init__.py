"""``MTCNN``: the drop-in for the class of the package ``mtcnn``, on preset ``reference``.

It takes calls in the form of both its versions, 0.1.x and 1.0.0, which differ in arguments,
defaults and results. The faces are found by the cascade of this package. Imports the detector.
"""

from __future__ import annotations

from edge_mtcnn.compat.mtcnn import MTCNN

__all__ = ["MTCNN"]
