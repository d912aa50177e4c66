"""`python -m quantum_training.service.new_key NAME ROLE`: make a key for a client, and the line that is kept of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from quantum_training.service.security.keys import FILE_VARIABLE, ROLES, make_key


def main(arguments: Sequence[str] | None = None) -> int:
    """The line goes to the standard output, to be added to the file of keys; the key, once, to the standard error."""
    parser = argparse.ArgumentParser(prog="python -m quantum_training.service.new_key", description=__doc__)
    parser.add_argument("name", help="of the client; it becomes the actor of what it changes")
    parser.add_argument("role", choices=ROLES, help="read; operate also trains; admin also decides about champions")
    options = parser.parse_args(arguments)
    try:
        key, line = make_key(options.name, options.role)
    except ValueError as error:
        parser.error(str(error))
    print(f"the key, shown once: {key}\nadd the line below to the file that {FILE_VARIABLE} names", file=sys.stderr)
    print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
