"""OpenTelemetry: traces of agents that others instrumented come in, and what Fiducial recorded goes out.

Coming in, every span is read (`wire`, `genai`, `openinference`), kept in the store until its trace is there (`inbox`),
and then followed in a session that observes (`follow`, `receiver`). Going out, entries of the log become spans
(`mapping`), with contents only on demand (`contents`), and are sent in order (`exporter`).
"""
