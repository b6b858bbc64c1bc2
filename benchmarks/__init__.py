"""Benchmarks: how long a refresh takes, against how much history there is, ours and others'."""
