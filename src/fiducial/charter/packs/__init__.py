"""Packs: contracts of tools that many agents have, described once and named by charters."""
