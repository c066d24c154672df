"""Doors: how agents come in without changing their code.

`app.py` composes them; each door is a file or a folder of its own. All of them decide through the same guard, so a call
gets the verdict that it would get in process.
"""
