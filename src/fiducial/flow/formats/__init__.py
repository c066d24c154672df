"""The ways in which agents' frameworks hand over structured results as text: JSON, YAML (block style), and `repr`.

A text that is one of them, and holds a mapping or a list, is read as such; anything else stays text. The code points
that were written are kept: numbers are not parsed. Repeated keys are all kept, because a model that reads the text sees
all of them.

Nothing here recurses or runs long in one C call, so hostile nesting costs linear time and other threads get their
turn: long JSON is decoded element by element, and YAML or `repr` text past `MAX_SLOW` stays text, which is the safe
side (a text at `$` cannot be told to be a record).
"""
