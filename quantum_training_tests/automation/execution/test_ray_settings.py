"""The settings of Dagster that Ray's run launcher passes on in a shell command."""

import shutil
from pathlib import Path

import pytest
from dagster._core.instance.ref import InstanceRef
from dagster._serdes import serialize_value

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("file", ["docker/dagster.yaml", "dagster_home/dagster.yaml"])
def test_no_quote_in_them_ends_the_command_early(file: str, tmp_path: Path) -> None:
    """dagster-ray 0.4.8 puts them between single quotes and escapes none inside."""
    shutil.copy(ROOT / file, tmp_path / "dagster.yaml")
    assert "'" not in serialize_value(InstanceRef.from_dir(str(tmp_path)))
