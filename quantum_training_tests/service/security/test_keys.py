"""Keys: made, kept as hashes, read, told apart."""

import subprocess
import sys
import time

import pytest

from quantum_training.service.__main__ import main
from quantum_training.service.security.keys import Client, KeyRing, make_key, read_keys
from quantum_training.settings.paths import SettingsError


def test_a_key_is_kept_as_a_hash_and_known_again(monkeypatch):
    key, line = make_key("ann", "operate")
    assert key.partition(".")[2] not in line
    monkeypatch.setenv("SERVICE_KEYS", f"# keys\n\n{line}\n{make_key('bob', 'read')[1]}")
    keys = KeyRing(read_keys())
    assert keys.known(key) is None
    assert keys.client(key) == keys.known(key) == Client("ann", "operate")
    for wrong in (key[:-1], key + "x", "ann.", "ann", "carl.x", "", "x" * 100_000, "ann.\0"):
        assert keys.client(wrong) is None
        assert keys.known(wrong) is None


def test_an_unknown_name_takes_as_long_as_a_wrong_secret(monkeypatch):
    monkeypatch.setenv("SERVICE_KEYS", make_key("ann", "read")[1])
    keys = KeyRing(read_keys())

    def seconds(key):
        start = time.thread_time()
        for _ in range(3):
            keys.client(key)
        return time.thread_time() - start

    assert 0.3 < seconds("ann.x") / seconds("bob.x") < 3


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("ann read", "NAME ROLE HASH"),
        ("ann owner AAAA:AAAA", "ROLE"),
        ("ann read not-base64", "NAME ROLE HASH"),
        ("a/b read AAAA:AAAA", "NAME"),
    ],
)
def test_a_wrong_line_is_named_by_its_number_and_not_shown(monkeypatch, line, named):
    monkeypatch.setenv("SERVICE_KEYS", f"\n{line}")
    with pytest.raises(SettingsError, match="line 2") as caught:
        read_keys()
    assert named in str(caught.value)
    assert "AAAA" not in str(caught.value)


def test_a_file_of_keys_that_is_missing_or_empty_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("SERVICE_KEYS_FILE", str(tmp_path / "keys"))
    with pytest.raises(SettingsError, match="cannot be read"):
        read_keys()
    (tmp_path / "keys").write_text("# none\n")
    with pytest.raises(SettingsError, match="holds no key"):
        read_keys()


def test_without_keys_only_loopback_is_listened_on(capsys, monkeypatch):
    monkeypatch.delenv("SERVICE_KEYS", raising=False)
    assert main(["--host", "0.0.0.0"]) == 2
    assert "new_key" in capsys.readouterr().err


def test_the_command_makes_a_key_and_its_line(monkeypatch):
    command = [sys.executable, "-m", "quantum_training.service.new_key", "ann", "admin"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    key = next(word for word in process.stderr.split() if word.startswith("ann."))
    monkeypatch.setenv("SERVICE_KEYS", process.stdout)
    assert KeyRing(read_keys()).client(key) == Client("ann", "admin")
