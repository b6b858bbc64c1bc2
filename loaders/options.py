"""The options that many commands have: where things are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def places(*names: str) -> Callable[[Command], Command]:
    """The options that say where things are; each also read from the environment."""
    options = {
        "landing": click.option(
            "--landing", type=click.Path(path_type=Path), help="Landing folder [POS_LANDING]."
        ),
        "lakehouse": click.option(
            "--lakehouse", help="Lakehouse: a folder, or s3://BUCKET/PREFIX [POS_LAKEHOUSE]."
        ),
        "port": click.option("--port", type=int, help="Port of the engine [POS_PORT]."),
        "target": click.option(
            "--target", "-t", type=click.Choice(["local", "spark"]), help="dbt target [DBT_TARGET]."
        ),
    }

    def decorate(command: Command) -> Command:
        for name in reversed(names):
            command = options[name](command)
        return command

    return decorate
