"""The model files: where they are, what the manifest says about them, and whether they are intact.

Every file is read once and compared with its SHA-256 in ``manifest.json``; ONNX Runtime gets what
was compared. No model is loaded here.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_mtcnn.errors import ModelFileError, OptionsError, shown
from edge_mtcnn.files import read_bytes, resource
from edge_mtcnn.types import NETWORKS

__all__ = ["Manifest", "Model", "ModelFile", "default_folder", "load_manifest"]

_SCHEMA_VERSION = 1
_REPAIR = (
    "reinstall edge-mtcnn, or restore the folder that RuntimeOptions(models=...) names; a frozen"
    " application must contain the data files of edge_mtcnn"
)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of the manifest.

    Attributes:
        path: expected place.
        sha256: expected SHA-256, hexadecimal.
        size: expected size, bytes.
    """

    path: Path
    sha256: str
    size: int

    def read(self) -> bytes:
        """Read the file and compare it with the manifest.

        Raises:
            ModelFileError: it is missing, unreadable, truncated or altered.
        """
        try:
            content = read_bytes(self.path)
        except FileNotFoundError:
            raise ModelFileError(f"model file {self.path} is missing; {_REPAIR}") from None
        except OSError as error:
            raise ModelFileError(f"model file {self.path} cannot be read: {error}") from None
        if len(content) != self.size:
            raise ModelFileError(
                f"model file {self.path} is {len(content)} bytes long instead of {self.size};"
                f" {_REPAIR}"
            )
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.sha256:
            raise ModelFileError(
                f"model file {self.path} was altered: its SHA-256 is {digest}, the manifest says"
                f" {self.sha256}; {_REPAIR}"
            )
        return content


@dataclass(frozen=True, slots=True)
class Model:
    """One network in one form, compared with the manifest.

    Attributes:
        path: where it was read.
        content: the ONNX file.
        data: the files with its weights, by the name that the ONNX file knows them by.
    """

    path: Path
    content: bytes
    data: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What ``manifest.json`` says about the model files beside it.

    Attributes:
        folder: folder of the manifest and the models.
        version: version of the models.
        forms: names of the forms that exist of every network, in the order of the manifest.
    """

    folder: Path
    version: str
    forms: tuple[str, ...]
    _networks: Mapping[str, Any]
    _score: Mapping[str, Any] | None = None
    _known: Mapping[str, Any] | None = None

    def models(self, form: str) -> dict[str, Model]:
        """Read the networks in one form.

        Args:
            form: one of ``forms``.

        Returns:
            Model by network name: ``pnet``, ``rnet``, ``onet``.

        Raises:
            OptionsError: there is no such form.
            ModelFileError: a file is missing, truncated or altered.
        """
        if form not in self.forms:
            raise OptionsError(f"form must be one of {', '.join(self.forms)}; got {shown(form)}")
        models = {}
        for name in NETWORKS:
            model, *data = self._files_of(name, form)
            weights = {file.path.name: file.read() for file in data}
            models[name] = Model(model.path, model.read(), weights)
        return models

    def score_model(self) -> tuple[Path, bytes]:
        """Read the score model, see ``cascade.scoring``.

        Returns:
            Its path and its content.

        Raises:
            ModelFileError: it is missing, truncated or altered, or these models have none.
        """
        if self._score is None:
            raise ModelFileError(
                f"the models in {self.folder} have no score model; use mirror=False"
            )
        file = self._file(self._score)
        return file.path, file.read()

    def real_faces(self) -> tuple[Path, bytes]:
        """Read what real faces are like, see ``cascade.known``.

        Returns:
            Its path and its content.

        Raises:
            ModelFileError: it is missing, truncated or altered, or these models have none.
        """
        if self._known is None:
            raise ModelFileError(
                f"the models in {self.folder} cannot recognise known false faces: they have no"
                " known.json; use the models of this version"
            )
        file = self._file(self._known)
        return file.path, file.read()

    def files(self) -> list[ModelFile]:
        """All files of all forms, each once."""
        single = [self._file(entry) for entry in (self._score, self._known) if entry is not None]
        return single + list(
            dict.fromkeys(
                file
                for form in self.forms
                for name in NETWORKS
                for file in self._files_of(name, form)
            )
        )

    def _files_of(self, network: str, form: str) -> Iterator[ModelFile]:
        entry = self._networks[network]["forms"][form]
        for item in (entry, *entry.get("data", ())):
            yield self._file(item)

    def _file(self, entry: Mapping[str, Any]) -> ModelFile:
        return ModelFile(self.folder / entry["file"], entry["sha256"], entry["bytes"])


def default_folder() -> Path:
    """Folder of the models that come with the package."""
    return resource("models/manifest.json").parent


def load_manifest(folder: str | os.PathLike[str] | None = None) -> Manifest:
    """Read ``manifest.json``.

    Args:
        folder: its folder; ``None`` for the models of the package.

    Raises:
        ModelFileError: it is missing, cannot be read as a manifest, or has a newer schema.
    """
    file = (default_folder() if folder is None else Path(folder)) / "manifest.json"
    try:
        content = json.loads(read_bytes(file).decode("utf-8"))
    except FileNotFoundError:
        raise ModelFileError(f"model manifest {file} is missing; {_REPAIR}") from None
    except (OSError, ValueError) as error:
        raise ModelFileError(f"model manifest {file} cannot be read: {error}; {_REPAIR}") from None
    try:
        if content["schema_version"] != _SCHEMA_VERSION:
            raise ModelFileError(
                f"model manifest {file} has schema {content['schema_version']}, this version of"
                f" edge-mtcnn reads schema {_SCHEMA_VERSION}; install matching models"
            )
        networks = {name: content["networks"][name] for name in NETWORKS}
        forms = tuple(
            form
            for form in networks["pnet"]["forms"]
            if all(form in network["forms"] for network in networks.values())
        )
        if not forms:
            raise ModelFileError(
                f"model manifest {file} has no form that every network comes in; {_REPAIR}"
            )
        manifest = Manifest(
            file.parent,
            str(content["model_version"]),
            forms,
            networks,
            content.get("score"),
            content.get("known"),
        )
        manifest.files()  # so that a missing entry shows here
    except KeyError as error:
        raise ModelFileError(f"model manifest {file} lacks {error}; {_REPAIR}") from None
    except (AttributeError, TypeError) as error:
        raise ModelFileError(f"model manifest {file} is malformed: {error}; {_REPAIR}") from None
    return manifest
