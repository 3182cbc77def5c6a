"""``POST /rotation``: the watcher finds out again how the frames of its camera must be turned."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edge_mtcnn.errors import OptionsError
from edge_mtcnn.serve.security import check_may_change
from edge_mtcnn.serve.state import rotation_entry
from edge_mtcnn.video import FaceWatcher

__all__ = ["RotationRoute"]


class RotationRoute:
    """The route; its method is called in the event loop.

    Args:
        watcher: ``None`` without a source.
        token_needed: see ``check_may_change``.
    """

    def __init__(self, watcher: FaceWatcher | None, *, token_needed: bool) -> None:
        self._watcher = watcher
        self._token_needed = token_needed

    async def post(self, request: Request) -> Response:
        """Look at the faces again. ``RotationFound`` reports the result."""
        check_may_change(request, token_needed=self._token_needed)
        if self._watcher is None:
            raise HTTPException(404, "no source is watched: start the service with one")
        try:
            self._watcher.find_rotation()
        except OptionsError:
            degrees = self._watcher.snapshot.rotation
            raise HTTPException(
                409,
                f"the rotation is fixed at {degrees} degrees: start the service with --rotate auto",
            ) from None
        return JSONResponse({**rotation_entry(self._watcher.snapshot), "state": "looking"}, 202)
