"""What happened, kept: the append-only log of events and the control state beside it, in one transaction."""
