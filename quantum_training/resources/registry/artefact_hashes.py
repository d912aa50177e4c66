"""The hashes of an artefact's files: a version's tag holds the hash of the list, a file of its run the list itself.

So a version's page stays short. Versions of 0.1 have the whole list in the tag.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from pathlib import Path

from quantum_training.models.manifest import ArtefactError, check, manifest

MODEL = "artifacts/model"
"""Folder of an artefact that holds the model; beside it lies what MLflow needs to serve it."""
MODEL_HASHES = f"{MODEL}/algorithm.json"
"""File of an artefact that holds the hashes of the model's other files."""
LEFT_BY_READERS = ("registered_model_meta", "__pycache__/pyfunc_model.*.pyc")
"""What MLflow and Python themselves put into an artefact that is loaded from where it lies; nothing here reads it."""
FILES_TAG, FILES = "artifact_files", "artifact_files.json"
"""Tag of a version: SHA-256 of the list of its files' hashes, or the list; and the file of its run with the list."""
MODEL_TAG = "artefact_hash"
"""Tag of a version: SHA-256 of MODEL_HASHES, as the week's record has it."""


def hash_list(files: Mapping[str, str]) -> str:
    """The text of FILES: the SHA-256 of each file of an artefact, but for what readers left there."""
    return json.dumps({name: sha256 for name, sha256 in files.items() if not _was_left(name)}, sort_keys=True)


def hash_tags(files: Mapping[str, str]) -> dict[str, str]:
    """The tags of a version whose artefact has these files."""
    return {FILES_TAG: _sha256(hash_list(files)), MODEL_TAG: files[MODEL_HASHES]}


def model_hash(tags: Mapping[str, str]) -> str | None:
    """The hash of an artefact's model, from the tags of its version; None if it was registered without hashes."""
    listed: Mapping[str, str] = json.loads(tags[FILES_TAG]) if _is_list(tags) else {}
    return tags.get(MODEL_TAG) or listed.get(MODEL_HASHES)


def require_unchanged(folder: Path, tags: Mapping[str, str], read_list: Callable[[], str]) -> None:
    """ArtefactError if a file of the artefact was changed, added or removed since the version with these tags was
    registered.

    read_list: the text of FILES; read only if something has changed, to say what.
    """
    if FILES_TAG not in tags:
        raise ArtefactError(f"it was registered without the tag {FILES_TAG}")
    if _is_list(tags):
        return _check(folder, json.loads(tags[FILES_TAG]))
    if _sha256(hash_list(manifest(folder))) == tags[FILES_TAG]:
        return None
    try:
        listed = read_list()
    except Exception as error:
        raise ArtefactError(
            f"it is not what was stored; which file differs is not known without {FILES}: {error}"
        ) from error
    if _sha256(listed) != tags[FILES_TAG]:
        raise ArtefactError(
            f"it is not what was stored, and neither is {FILES} of its run, which would say what differs"
        )
    _check(folder, json.loads(listed))
    raise ArtefactError("it is not what was stored")


def _check(folder: Path, files: Mapping[str, str]) -> None:
    stored = {name: sha256 for name, sha256 in files.items() if not _was_left(name)}
    check(folder, stored, ignored=[name for name in manifest(folder) if _was_left(name)])


def _was_left(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in LEFT_BY_READERS)


def _is_list(tags: Mapping[str, str]) -> bool:
    return tags.get(FILES_TAG, "").startswith("{")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
