"""What a manifest lets through."""

import pytest

from quantum_training.models.manifest import NO_FILE, ArtefactError, check, manifest


def test_a_link_is_refused_even_if_the_manifest_matches(tmp_path):
    folder, elsewhere = tmp_path / "artefact", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.write_text("x")
    (folder / "model").symlink_to(elsewhere)
    assert manifest(folder) == {"model": NO_FILE}
    with pytest.raises(ArtefactError, match="model was changed"):
        check(folder, manifest(folder))
