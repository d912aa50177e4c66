"""The hashes of an artefact's files in the tags of its version, as this release and as 0.1 wrote them."""

import hashlib
import json

import pytest

from quantum_training.models.manifest import ArtefactError, manifest
from quantum_training.resources.registry.artefact_hashes import (
    LEFT_BY_READERS,
    MODEL_HASHES,
    hash_list,
    hash_tags,
    model_hash,
    require_unchanged,
)


@pytest.fixture
def artefact(tmp_path):
    (tmp_path / MODEL_HASHES).parent.mkdir(parents=True)
    (tmp_path / MODEL_HASHES).write_text("{}")
    (tmp_path / "MLmodel").write_text("flavors")
    (tmp_path / LEFT_BY_READERS[0]).write_text("what MLflow adds when it loads")
    return tmp_path


def test_the_tag_is_the_hash_of_the_list_of_hashes_without_what_mlflow_adds(artefact):
    files = manifest(artefact)
    listed = hash_list(files)
    assert {*json.loads(listed)} == {MODEL_HASHES, "MLmodel"}
    assert hash_tags(files) == {
        "artifact_files": hashlib.sha256(listed.encode()).hexdigest(),
        "artefact_hash": files[MODEL_HASHES],
    }


@pytest.mark.parametrize("form", ["present", "0.1"])
def test_a_change_is_named_and_what_mlflow_adds_is_none(artefact, form):
    files = manifest(artefact)
    tags = hash_tags(files) if form == "present" else {"artifact_files": json.dumps(files)}
    assert model_hash(tags) == files[MODEL_HASHES]

    def require():
        require_unchanged(artefact, tags, lambda: hash_list(files))

    require()
    (artefact / LEFT_BY_READERS[0]).write_text("again")
    require()
    (artefact / LEFT_BY_READERS[0]).unlink()
    require()
    (artefact / "MLmodel").write_text("other")
    with pytest.raises(ArtefactError, match=r"not what was stored: MLmodel was changed$"):
        require()
    (artefact / "MLmodel").unlink()
    with pytest.raises(ArtefactError, match=r"MLmodel is missing$"):
        require()


def test_without_its_list_or_with_another_one_a_change_is_refused_all_the_same(artefact):
    files = manifest(artefact)
    (artefact / "more.py").touch()

    def gone():
        raise FileNotFoundError("artifact_files.json")

    with pytest.raises(ArtefactError, match=r"which file differs is not known without artifact_files\.json"):
        require_unchanged(artefact, hash_tags(files), gone)
    with pytest.raises(ArtefactError, match=r"neither is artifact_files\.json of its run"):
        require_unchanged(artefact, hash_tags(files), lambda: hash_list(manifest(artefact)))


def test_a_version_without_the_tag_is_refused_and_has_no_hash(artefact):
    assert model_hash({}) is None
    with pytest.raises(ArtefactError, match="registered without the tag artifact_files"):
        require_unchanged(artefact, {}, str)
