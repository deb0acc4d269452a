"""The `oo` command."""

from __future__ import annotations

import sys
import warnings


def main() -> None:
    """Run the command. If click or rich is missing, say what to install."""
    try:
        from ._commands import oo
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        print('oo: the command needs click and rich: pip install "double-o[cli]"', file=sys.stderr)
        sys.exit(1)
    # The user of the command has no use for the line of source that Python prints with a warning.
    warnings.formatwarning = lambda message, *_args, **_kwargs: f"oo: {message}\n"
    oo.main(prog_name="oo")


if __name__ == "__main__":
    main()
