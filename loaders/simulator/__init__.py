"""A pure, seeded simulator of one month of two point-of-sale systems (DESIGN section 7), and of a
chain of many."""

from __future__ import annotations

from loaders.simulator.chain import Chain
from loaders.simulator.config import Config, Faults
from loaders.simulator.month import Month, simulate
from loaders.simulator.writing import write_chain, write_month

__all__ = ["Chain", "Config", "Faults", "Month", "simulate", "write_chain", "write_month"]
