"""The modules of the commands, which ``edge_mtcnn.cli`` imports by name."""

from PyInstaller.utils.hooks import collect_submodules

hiddenimports = collect_submodules("edge_mtcnn.cli")
