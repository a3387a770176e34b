"""Exports trained generators in the formats of other programs."""
