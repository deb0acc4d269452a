"""The `oo` command."""

from __future__ import annotations

import sys
import warnings


def main() -> None:
    """Run the command; where click is missing, say what to install."""
    try:
        from ._commands import oo
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        print('oo: the command needs click and rich: pip install "double-o[cli]"', file=sys.stderr)
        sys.exit(1)
    # A warning is for whoever runs the command, who has no use for a line of its source.
    warnings.formatwarning = lambda message, *_args, **_kwargs: f"oo: {message}\n"
    oo.main(prog_name="oo")


if __name__ == "__main__":
    main()
