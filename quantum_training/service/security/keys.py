"""The keys of clients: each has a name and a role, and is kept only as an scrypt hash (RFC 7914).

They are read from the lines of SERVICE_KEYS, or of the file that SERVICE_KEYS_FILE names; a line reads NAME ROLE HASH.
A key reads NAME.SECRET. `python -m quantum_training.service.new_key` makes both.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Literal, NamedTuple, get_args

from quantum_training.settings.paths import SettingsError

VARIABLE, FILE_VARIABLE = "SERVICE_KEYS", "SERVICE_KEYS_FILE"
Role = Literal["read", "operate", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""Each may do what those before it may. operate starts trainings; admin decides about champions and capital."""
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
COST, BLOCK, LANES = 2**14, 8, 1
"""Parameters of scrypt as OWASP recommends at the least for a password; a key has 256 random bits."""
MAX_KEY_LENGTH = 200


class Client(NamedTuple):
    """Who asks."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Is the client's role at least this one?"""
        return ROLES.index(self.role) >= ROLES.index(role)


class StoredKey(NamedTuple):
    """What is kept of a key."""

    client: Client
    salt: bytes
    hash: bytes


def make_key(name: str, role: Role) -> tuple[str, str]:
    """A new key, and the line that is kept of it. ValueError if the name is none."""
    if not NAME.fullmatch(name):
        raise ValueError(f"name {name!r}: up to 64 letters, digits, _ and -")
    key, salt = f"{name}.{secrets.token_urlsafe(32)}", secrets.token_bytes(16)
    return key, f"{name} {role} {b64encode(salt).decode()}:{b64encode(_scrypt(key, salt)).decode()}"


def read_keys() -> dict[str, StoredKey]:
    """The keys by name; none if neither variable is set. SettingsError if a line is wrong; it shows no hash."""
    file = os.environ.get(FILE_VARIABLE)
    try:
        text = Path(file).read_text() if file else os.environ.get(VARIABLE, "")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{FILE_VARIABLE} names {file}, which cannot be read: {type(error).__name__}") from None
    keys: dict[str, StoredKey] = {}
    lines = (line.strip() for line in text.splitlines())
    for number, line in enumerate(lines, 1):
        if line and not line.startswith("#"):
            key = _stored_key(line, number)
            if key.client.name in keys:
                raise SettingsError(f"{VARIABLE}, line {number}: the name {key.client.name} stands twice")
            keys[key.client.name] = key
    if file and not keys:
        raise SettingsError(f"{FILE_VARIABLE} names {file}, which holds no key; make one, or unset {FILE_VARIABLE}")
    return keys


def _stored_key(line: str, number: int) -> StoredKey:
    try:
        name, role, hash_ = line.split()
        salt, digest = (b64decode(part, validate=True) for part in hash_.split(":"))
    except ValueError:
        raise SettingsError(f"{VARIABLE}, line {number}: a line reads NAME ROLE HASH, as new_key makes it") from None
    if not NAME.fullmatch(name) or role not in ROLES or len(digest) != 64:
        raise SettingsError(f"{VARIABLE}, line {number}: NAME, ROLE ({', '.join(ROLES)}) or HASH is wrong")
    return StoredKey(Client(name, role), salt, digest)


class KeyRing:
    """Tells whose key a text is. A key that was right before is known by its SHA-256, since scrypt takes 50 ms."""

    def __init__(self, keys: Mapping[str, StoredKey]) -> None:
        self._keys = keys
        self._known: dict[bytes, Client] = {}
        self._lock = Lock()
        self._nobody = StoredKey(Client("nobody", "read"), secrets.token_bytes(16), secrets.token_bytes(64))

    def __bool__(self) -> bool:
        return bool(self._keys)

    def known(self, key: str) -> Client | None:
        """The client of a key that was right before."""
        return self._known.get(_digest(key))

    def client(self, key: str) -> Client | None:
        """The client of a key; None if it is wrong. It takes as long for an unknown name."""
        if len(key) > MAX_KEY_LENGTH:
            return None
        stored = self._keys.get(key.partition(".")[0], self._nobody)
        with self._lock:  # one at a time: each takes 16 MB
            right = hmac.compare_digest(_scrypt(key, stored.salt), stored.hash)
        if not right:
            return None
        self._known[_digest(key)] = stored.client
        return stored.client


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _scrypt(key: str, salt: bytes) -> bytes:
    return hashlib.scrypt(key.encode(), salt=salt, n=COST, r=BLOCK, p=LANES, maxmem=2**26)
