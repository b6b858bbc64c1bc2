"""Kafka: a broker for one machine, the playback's sink, and the load's source."""
