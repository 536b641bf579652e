"""The command `fastsoftmax` (extra `[cli]`)."""

from __future__ import annotations

import sys

from fastsoftmax.cli.errors import EXTRA


def main() -> None:
    """Run the command; without the extra installed, say so in one line."""
    try:
        from fastsoftmax.cli.app import app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        sys.exit(f"fastsoftmax: {error.name} is missing; pip install 'fastsoftmax[cli]'")
    except KeyboardInterrupt:  # while modules are imported; later, the commands see to it
        print("fastsoftmax: interrupted", file=sys.stderr)
        sys.exit(130)
    app()
