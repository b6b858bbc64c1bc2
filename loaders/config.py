"""Where things are: landing folder, lakehouse, engine port, dbt target.

Apart from the modules that use them, so that two lakehouses can live side by side in one process
(the tests do) and nothing reads the environment at import.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from loaders.errors import UserError
from loaders.places import Place, Store, place_of

DEFAULT_LANDING = "landing"
DEFAULT_LAKEHOUSE = "lakehouse"
# What is remembered of lakehouses in object stores, unless POS_STATE says where.
# macros/lakehouse_location.sql says the same.
DEFAULT_STATES = "lakehouse_state"
DEFAULT_PORT = 50051
DEFAULT_TARGET = "local"
# Longer than any reader's query, and than a build on `spark`, which takes no turn: what was
# replaced is removed after that. Every tick leaves 4 MB of the inventory of 200,000 keys behind,
# some 6 GB in an hour.
DEFAULT_RETENTION_HOURS = 1.0

# All clients of one engine share one session: tables registered by one are seen by the others.
# The engine is bound to one lakehouse and one port, so a constant is enough.
ENGINE_USER = "pos"
ENGINE_SESSION = "706f7300-0000-4000-8000-000000000001"


@dataclass(frozen=True)
class Settings:
    """Absolute places and the engine's port; the one thing that every command needs."""

    landing: Path
    lakehouse: Place
    port: int = DEFAULT_PORT
    target: str = DEFAULT_TARGET
    project: Path = Path(__file__).resolve().parent.parent
    retention_hours: float = DEFAULT_RETENTION_HOURS
    state_of_store: Path | None = None  # of a lakehouse in an object store, if not the default

    @property
    def state(self) -> Path:
        """Folder for what the loaders remember; hidden from the engine by its underscore.

        Always on a disk: locks, sockets and durable appends are what object stores have not.
        """
        if isinstance(self.lakehouse, Path):
            return self.lakehouse / "_pos"
        if self.state_of_store is not None:
            return self.state_of_store
        return (Path(DEFAULT_STATES) / self.lakehouse.below_scheme).resolve()

    @property
    def disk(self) -> Path:
        """The lakehouse's folder, for what only works on a disk; :class:`UserError` elsewhere."""
        if isinstance(self.lakehouse, Store):
            raise UserError(
                f"the lakehouse {self.lakehouse} is in an object store, and this works on a disk "
                f"only (README, On object storage, says what there is instead)"
            )
        return self.lakehouse

    @property
    def is_on_disk(self) -> bool:
        """False where the lakehouse is in an object store."""
        return isinstance(self.lakehouse, Path)

    @property
    def remote(self) -> str:
        """Spark Connect address of the embedded engine, with the shared session."""
        return f"sc://127.0.0.1:{self.port}/;user_id={ENGINE_USER};session_id={ENGINE_SESSION}"

    def table(self, schema: str, name: str) -> Place:
        """Place of a Delta table in this lakehouse."""
        return self.lakehouse / schema / name

    def environment(self) -> dict[str, str]:
        """The environment in which dbt finds this lakehouse."""
        return {
            "POS_LANDING": str(self.landing),
            "POS_LAKEHOUSE": str(self.lakehouse),
            "POS_PORT": str(self.port),
            "DBT_TARGET": self.target,
            **({} if self.is_on_disk else {"POS_STATE": str(self.state)}),
        }


def settings_from(
    landing: str | Path | None = None,
    lakehouse: str | Path | None = None,
    port: int | None = None,
    target: str | None = None,
) -> Settings:
    """Settings from arguments, then the environment, then the defaults (relative to the cwd)."""
    environment = os.environ
    return Settings(
        landing=Path(landing or environment.get("POS_LANDING", DEFAULT_LANDING)).resolve(),
        lakehouse=place_of(lakehouse or environment.get("POS_LAKEHOUSE", DEFAULT_LAKEHOUSE)),
        port=port or port_from("POS_PORT", DEFAULT_PORT),
        target=target or environment.get("DBT_TARGET", DEFAULT_TARGET),
        retention_hours=_hours(
            environment.get("POS_RETENTION_HOURS", str(DEFAULT_RETENTION_HOURS))
        ),
        state_of_store=Path(state).resolve() if (state := environment.get("POS_STATE")) else None,
    )


def port_from(name: str, default: int) -> int:
    """The port that the environment's ``name`` says, or the ``default``; :class:`UserError`."""
    text = os.environ.get(name, str(default))
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise UserError(f"{name} is the number of a port, 1 to 65535; not {text!r}")
    return int(text)


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = -1.0
    if not 0 < hours < float("inf"):
        raise UserError(f"POS_RETENTION_HOURS is a number of hours above 0; not {text!r}")
    return hours
