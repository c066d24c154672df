"""Agents of other frameworks: each file here puts the guard around the tools of one, and decides nothing by itself.

What they share is in `calls`: a call goes all ten steps, waits for people, and comes back as a value or as words for
the model. A guard that breaks is an answer like any other: the tool has not run, and the model is told so.
"""
