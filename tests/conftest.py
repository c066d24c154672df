"""What every test shares: how many examples the property tests try.

`quick` is the default, small enough for `make test`, and repeatable in continuous integration; `thorough` is what
`make verify` asks for with `--hypothesis-profile=thorough`. Tests marked `long` run only with `-m long` or `-m ""`.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# No deadline: a shared machine stalls for longer than any bound that would still tell anything about the code.
settings.register_profile(
    "quick",
    max_examples=60,
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("quick")
