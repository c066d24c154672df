"""People: what they are asked, decide, stop and take back.

hold      one request, and what it means at a given time
desk      asks, takes answers, hands out what was approved; the guard's side and the people's side
people    who may decide, in which roles, and who stands in for whom
switches  halts
undo      taking back what a session did
"""

from fiducial.oversight.desk import Desk
from fiducial.oversight.hold import Approver, Hold, Vote

__all__ = ["Approver", "Desk", "Hold", "Vote"]
