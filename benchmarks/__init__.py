"""Benchmark scripts, one per table or figure of README.md, and the modules that they share."""
