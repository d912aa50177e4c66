"""What is behind an error, as the system or a server says it."""

import pytest

from quantum_training.resources.faults import FULL, NO_LOGIN, READ_ONLY, SILENT, remedy


@pytest.mark.parametrize(
    ("error", "todo"),
    [
        (RuntimeError("permission denied for table ledger"), READ_ONLY),
        (PermissionError(13, "Permission denied"), READ_ONLY),
        (RuntimeError("Disk is full"), FULL),
        (RuntimeError("An error occurred (SignatureDoesNotMatch) when calling the PutObject operation"), NO_LOGIN),
        (ConnectionResetError(), SILENT),
        (FileNotFoundError(2, "No such file"), None),
        (ValueError("wrong"), None),
    ],
)
def test_the_remedy_fits_the_obstacle(error, todo):
    assert remedy(error) == todo
    outer = RuntimeError("outer")
    outer.__cause__ = error
    assert remedy(outer) == todo
