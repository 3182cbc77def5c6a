"""What PyInstaller does not see in the imports of an application.

These are the models, the sample photo and the pages, and what ``doctor`` reads about the installed
packages.
"""

from importlib.metadata import packages_distributions

from PyInstaller.utils.hooks import collect_data_files, copy_metadata

datas = collect_data_files("edge_mtcnn")
for package in ("onnxruntime", "cv2"):
    for distribution in set(packages_distributions().get(package, ())):
        datas += copy_metadata(distribution)
