"""People: what they are asked, decide, stop and take back.

hold       one request, and what it means at a given time
desk       what people do with requests: look, answer, approve classes of calls, appeal
asking     what the guard asks: it makes requests, and hands out what was approved
requests   the cells and events of a request
clockwork  writes down what time settles
glass      emergency access
people     who may decide, in which roles, and who stands in for whom
switches   halts
undo       taking back what a session did
"""

from fiducial.oversight.clockwork import Clockwork
from fiducial.oversight.desk import Desk
from fiducial.oversight.hold import Approver, Hold, Vote

__all__ = ["Approver", "Clockwork", "Desk", "Hold", "Vote"]
