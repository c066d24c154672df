"""OpenTelemetry: traces of agents that others instrumented come in.

Every span is read (`wire`, `genai`, `openinference`), kept in the store until its trace is there (`inbox`), and then
followed in a session that observes (`follow`, `receiver`).
"""
