"""A pure, seeded simulator of one month of two point-of-sale systems (DESIGN section 7)."""

from __future__ import annotations

from loaders.simulator.config import Config, Faults
from loaders.simulator.month import Month, simulate
from loaders.simulator.writing import write_month

__all__ = ["Config", "Faults", "Month", "simulate", "write_month"]
