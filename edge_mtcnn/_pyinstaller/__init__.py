"""Hooks for PyInstaller, which finds them by the entry point ``pyinstaller40``.

An application never imports this.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["hook_folders"]


def hook_folders() -> list[str]:
    """The folders of the hooks: this one."""
    return [str(Path(__file__).parent)]
