"""Benchmark scripts; each prints a table or writes a report."""
