"""What keeps a disk or a server from doing its work, told from what is wrong with the work itself, and the remedy.

Who met it, and where, is said by the caller.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

FULL = "Make room there"
READ_ONLY = "Let this user read and write there"
SILENT = "Look after the disk or the server, or mend its address"

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
_NO_OBSTACLE = {None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL}
_SAID = {
    FULL: ("No space left on device", "disk is full", "disk full", "Disk quota exceeded"),
    READ_ONLY: (
        "Read-only file system",
        "readonly database",
        "unable to open database file",
        "read-only transaction",
        "Permission denied",
    ),
}
"""A server, and SQLite, say in words what the system told them."""


def remedy(error: BaseException | None) -> str | None:
    """What to do where a full or read-only disk or a silent server is behind an error; None where none of them is."""
    for cause in _causes(error):
        code = cause.errno if isinstance(cause, OSError) else None
        for number, words in ((_FULL, FULL), (_READ_ONLY, READ_ONLY)):
            if code in number or any(text in str(cause) for text in _SAID[words]):
                return words
        if isinstance(cause, ConnectionError | TimeoutError) or code not in _NO_OBSTACLE or _http_silence(cause):
            return SILENT
    return None


def _http_silence(error: BaseException) -> bool:
    """Is it an HTTP request without an answer, or with one that the server is not able to give?"""
    from requests import RequestException

    status = getattr(getattr(error, "response", None), "status_code", None)
    return isinstance(error, RequestException) and (status is None or status == 429 or status >= 500)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
