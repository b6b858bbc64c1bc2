"""Loaders: simulate, play, replay and load point-of-sale events into bronze Delta tables."""
