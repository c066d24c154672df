"""May it happen: the ten steps of a call, and the session they belong to."""
