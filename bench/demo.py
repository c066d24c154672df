"""Four agents under attack, guarded; one held call explained; the log verified and then tampered with.

    python bench/demo.py                     what `make demo` runs
    python bench/demo.py --suite banking     one of the four, for a quick look
    python bench/demo.py --svg docs/demo.svg the same, drawn as a picture

Nothing here is prepared: the numbers are counted in this run, the held call is the first one that the run came upon, and
the log is the one that its sessions wrote.
"""

from __future__ import annotations

WIDTH = 112
"""Columns: what fits a picture in a README."""
RECORDED = "banking"
"""The suite whose runs are kept in a ledger: short results, money at stake."""
GUARDS = ("none", "deny-writes", "no-write-after-read", "destination-in-prompt", "balanced", "strict", "planned")
NOTES = {
    "none": "every call runs",
    "deny-writes": "reading only",
    "no-write-after-read": "reading ends writing",
    "destination-in-prompt": "targets must stand in the prompt",
    "balanced": "the default profile",
    "strict": "holds more",
    "planned": "balanced, with a declared plan ¹",
}
