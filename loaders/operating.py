"""The commands of whoever keeps a lakehouse running: doctor, trace, backup, restore, rollback."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from loaders.config import settings_from
from loaders.errors import UserError
from loaders.options import places


@click.command()
@places("landing", "lakehouse", "port", "target")
def doctor(
    landing: Path | None, lakehouse: str | None, port: int | None, target: str | None
) -> None:
    """Look at everything that may be wrong; says what to do, and exits with 1, if something is."""
    from loaders.doctor import PROBLEM, examined

    problems = 0
    for finding in examined(settings_from(landing, lakehouse, port, target)):
        is_problem = finding.state == PROBLEM
        problems += is_problem
        click.echo(str(finding), err=is_problem)
    if problems:
        click.echo(f"{problems} problem{'s' if problems > 1 else ''}", err=True)
        sys.exit(1)
    click.echo("no problem found")


@click.command()
@click.argument("trans_id", required=False)
@click.option("--ingest-id", type=int, help="Instead: all of this commit of the loader.")
@places("lakehouse")
def trace(trans_id: str | None, ingest_id: int | None, lakehouse: str | None) -> None:
    """Follow a transaction from its message to gold: JSON lines, the loader's and build's ids."""
    from loaders.trace import traced

    if (trans_id is None) == (ingest_id is None):
        raise click.UsageError("a TRANS_ID or an --ingest-id, one of the two")
    found = 0
    for step in traced(settings_from(None, lakehouse), trans_id, ingest_id):
        click.echo(json.dumps(step, default=str))
        found += 1
    if not found:
        raise UserError(f"nothing was received of {trans_id or f'commit {ingest_id}'}")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--keep", type=click.IntRange(1), help="Keep so many backups there [all].")
@places("lakehouse", "port", "target")
def backup(
    folder: Path, keep: int | None, lakehouse: str | None, port: int | None, target: str | None
) -> None:
    """Back the lakehouse up into FOLDER; beside a running pos run."""
    from loaders.backup import back_up

    report = back_up(settings_from(None, lakehouse, port, target), folder, keep)
    click.echo(
        f"{report.point.folder}: {len(report.point.versions)} tables, {report.files:,} files, "
        f"{report.bytes_copied / 1e6:,.1f} MB copied, {report.bytes_shared / 1e6:,.1f} MB shared "
        f"with the backup before"
    )


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--at", help="The newest backup from then or before, UTC [the newest of all].")
@places("landing", "lakehouse")
def restore(folder: Path, at: str | None, landing: Path | None, lakehouse: str | None) -> None:
    """Make the lakehouse, which must be empty or gone, what it was at a backup in FOLDER."""
    from loaders.backup import put_back

    settings = settings_from(landing, lakehouse)
    report = put_back(settings, folder, at)
    click.echo(
        f"{settings.lakehouse}: as of {report.point.made_at:%Y-%m-%d %H:%M:%S} UTC, "
        f"{report.files:,} files, each as it was backed up"
    )
    click.echo(f"what has landed since and lies in {settings.landing} comes with: pos run")


@click.command()
@click.option("--to", "at", help="The newest restore point from then or before, UTC.")
@places("lakehouse", "port", "target")
def rollback(at: str | None, lakehouse: str | None, port: int | None, target: str | None) -> None:
    """Undo bad builds: silver and gold go back to a restore point; without --to, list them."""
    from loaders.points import points_of
    from loaders.rollback import roll_back

    settings = settings_from(None, lakehouse, port, target)
    if at is None:
        for point in points_of(settings):
            click.echo(f"{point.name}  {point.made_at:%Y-%m-%d %H:%M:%S} UTC")
        if not points_of(settings):
            click.echo(f"no restore point of {settings.disk}: pos run makes one every 15 minutes")
        return
    report = roll_back(settings, at)
    click.echo(
        f"as of {report.point.made_at:%Y-%m-%d %H:%M:%S} UTC: {len(report.restored)} tables put "
        f"back, {len(report.unchanged)} had not changed"
    )
    if report.set_aside:
        click.echo(f"set aside in {report.aside}: {', '.join(report.set_aside)}")
    if report.undone_by:
        click.echo(f"to undo this: pos rollback --to {report.undone_by.name}")
    click.echo("put the models right, then: pos run. It takes in again what came since")


@click.command()
@click.option("--employee-days", "days", type=click.FloatRange(0), required=True)
@places("landing", "lakehouse")
def retain(days: float, landing: Path | None, lakehouse: str | None) -> None:
    """Let go of employees' numbers that are older: bronze keeps their keyed hash."""
    from loaders.retention import retain as let_go

    report = let_go(settings_from(landing, lakehouse), days)
    click.echo(f"{report.rows:,} values replaced, of before {report.before:%Y-%m-%d %H:%M:%S} UTC")
    click.echo(
        "count files in the landing folder, and backups from before, have the numbers still: "
        "remove those that are loaded and old"
    )


COMMANDS = (doctor, trace, backup, restore, rollback, retain)
