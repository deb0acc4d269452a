"""The `oo` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command; where click is missing, say what to install."""
    try:
        from ._commands import oo
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        print('oo: the command needs click and rich: pip install "double-o[cli]"', file=sys.stderr)
        sys.exit(1)
    oo.main(prog_name="oo")


if __name__ == "__main__":
    main()
