"""`python -m fiducial`: the `fiducial` command."""

from __future__ import annotations

from fiducial.cli import main

if __name__ == "__main__":
    main()
