"""Where it is kept how people sign in, and who is signed in (`fiducial.console.accounts` says what each cell holds).

Apart from that module, because a restore ends what signs people in also where the console is not installed.
"""

from __future__ import annotations

from typing import Final

ACCOUNT: Final = "console/account/"
LINK: Final = "console/link/"
SESSION: Final = "console/session/"
TOKEN: Final = "console/token/"  # noqa: S105 - a prefix of keys
SUBJECT: Final = "console/subject/"
EPOCH: Final = "console/epoch/"
