"""The door for MCP: Fiducial between a client and a server of the Model Context Protocol.

`proxy.py` is the server that the client sees and the client that the server sees; `results.py` turns what a tool
returns into what the guard labels, and a verdict into what the client is told; `stdio.py` wraps a server that is a
command.
"""
