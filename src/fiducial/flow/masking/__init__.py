"""Masking: what personal or secret values a text holds, and tokens in their place that only their session can undo.

`detect` finds values by class; `vault` keeps what a session's tokens stand for; `values` masks and restores texts and
JSON values; `streams` does the same to what comes in pieces. Whether a class may be restored is decided elsewhere.
"""
