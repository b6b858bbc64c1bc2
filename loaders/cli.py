"""The ``pos`` command: arguments to calls, nothing else.

Exit codes: 0 done, 1 could not be done (the text says why), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from loaders.config import Settings, settings_from
from loaders.errors import UserError, refusal_of_disk
from loaders.landing import FEEDS
from loaders.operating import COMMANDS
from loaders.options import Command
from loaders.options import places as _places

if TYPE_CHECKING:
    from loaders.load import Loader
    from loaders.page.live import LivePage
    from loaders.schedule import Tick

DEFAULT_MONTH = "month"
TABLE_ROWS = 100
DEFAULT_PAGE = "page"
DEFAULT_PAGE_PORT = 8050


def _from_kafka(command: Command) -> Command:
    """The options of a load that reads Kafka and not the landing folder."""
    source = click.option(
        "--from", "kafka", metavar="KAFKA", help="Read Kafka, as in kafka://127.0.0.1:9092."
    )
    loss = click.option(
        "--accept-loss", is_flag=True, help="Go on where Kafka has deleted messages unread."
    )
    return source(loss(command))


def _every(name: str) -> Callable[[Command], Command]:
    """How often a page is written at most."""
    return click.option(
        name,
        type=click.FloatRange(0.1, 86_400),
        default=10.0,
        show_default=True,
        help="Seconds between two pages at least.",
    )


def _page_beside(command: Command) -> Command:
    """The options of a page that is kept up to date beside the builds."""
    option = click.option(
        "--page",
        type=click.Path(path_type=Path),
        help="Folder of an inventory page to keep up to date.",
    )
    return option(_every("--page-every")(command))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pos-lakehouse")
def pos() -> None:
    """Real-time inventory from point-of-sale events, as a dbt lakehouse."""


@pos.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option("--seed", default=1, show_default=True, help="The same seed makes the same bytes.")
@click.option("--days", default=31, show_default=True)
@click.option("--items", default=100_000, show_default=True)
@click.option("--lines", default=1_500_000, show_default=True, help="Item lines to aim at.")
@click.option("--stores", default=2, show_default=True, help="More than 2: a chain, one online.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Of a chain: so many stores at a time, a process each.",
)
@click.option("--duplicates", default=0.0, help="Share of messages sent twice.")
@click.option("--late", default=0.0, help="Share sent up to ten days late.")
@click.option("--out-of-order", default=0.0, help="Share sent minutes late.")
@click.option("--malformed", default=0.0, help="Broken lines added, as a share of messages.")
@click.option("--unknown-item", default=0.0, help="Share with an item that no list has.")
@click.option("--conflicting", default=0.0, help="Share repeated with another quantity.")
@click.option("--late-counts", default=0.0, help="Share of count files sent days late.")
@click.option("--corrected-counts", default=0.0, help="Share of count rows corrected later.")
def simulate(
    out: Path, seed: int, days: int, items: int, lines: int, stores: int, jobs: int, **faults: float
) -> None:
    """Simulate a month of two POS systems, or of a chain of stores, into a folder, with the truth
    beside it."""
    from loaders.simulator import Chain, Config, Faults, write_chain, write_month
    from loaders.simulator import simulate as simulate_month

    config = Config(seed=seed, days=days, items=items, lines=lines, faults=Faults(**faults))  # type: ignore[arg-type]
    if stores == 2:
        write_month(simulate_month(config), out)
        click.echo(f"{out}: {days} days, {items:,} items; play it with: pos play {out}")
        return
    write_chain(Chain(config, stores), out, jobs)
    click.echo(
        f"{out}: {days} days, {stores} stores, {items:,} items; the models know the stores by: "
        f"cp {out}/stores.csv seeds/; play it with: pos play {out}"
    )


@pos.command()
@click.argument("month", type=click.Path(path_type=Path))
@click.option("--speed", default="10", show_default=True, help="Event seconds a second, or max.")
@click.option("--until", type=click.DateTime(), help="Event time to stop at.")
@click.option("--to", metavar="KAFKA", help="Play into Kafka, as in kafka://127.0.0.1:9092.")
@_places("landing")
def play(
    month: Path, speed: str, until: datetime | None, to: str | None, landing: Path | None
) -> None:
    """Play a simulated month into the landing folder, or Kafka, as its event clock passes."""
    from loaders.playback import LandingSink, Month, Sink, only_player
    from loaders.playback import play as play_month

    settings = settings_from(landing=landing)
    stop = _stop_on_signals()
    sink: Sink = LandingSink(settings.landing)
    lock: AbstractContextManager[object] = nullcontext()
    if to is None:
        lock = only_player(settings.landing)
    else:
        _require_kafka()
        from loaders.kafka.sink import KafkaSink

        sink = KafkaSink(to)
    with lock:
        clock = play_month(
            Month(month), sink, speed=_speed(speed), until=until, should_stop=stop.is_set
        )
    click.echo(f"played through {clock:%Y-%m-%d %H:%M:%S} into {to or settings.landing}")


@pos.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--fold/--keep-stores", default=True, help="All stores as store 1, or each its own.")
@click.option("--limit", type=int, help="Only the first so many lines.")
@_places("landing")
def replay(file: Path, fold: bool, limit: int | None, landing: Path | None) -> None:
    """Put real grocery baskets (Complete Journey, parquet or wheel) into the landing folder."""
    from loaders.replay import write_replay

    settings = settings_from(landing=landing)
    summary = write_replay(file, settings.landing, fold=fold, limit=limit)
    click.echo(
        f"{summary.lines:,} lines in {summary.messages:,} messages, {summary.quantity:,} units, "
        f"{summary.items:,} items into {settings.landing}"
    )


@pos.command()
@click.option("--once", is_flag=True, help="Load what has landed and stop.")
@_from_kafka
@_places("landing", "lakehouse")
def load(
    once: bool,
    kafka: str | None,
    accept_loss: bool,
    landing: Path | None,
    lakehouse: str | None,
) -> None:
    """Load what has landed, or what Kafka has, into bronze, each file or message exactly once."""
    settings = settings_from(landing, lakehouse)
    stop = _stop_on_signals()
    with _loader(settings, kafka, accept_loss=accept_loss, is_resident=not once) as loader:
        while True:
            report = loader.load()
            for warning in report.warnings:
                click.echo(warning, err=True)
            for feed, rows in report.rows.items():
                click.echo(f"{feed}: {rows:,} rows")
            if once:
                if report.is_empty:
                    click.echo(f"nothing new in {kafka or settings.landing}")
                return
            if stop.wait(0.5):
                return


@pos.command()
@click.option("--once", is_flag=True, help="Take in what is there and stop.")
@_from_kafka
@click.option(
    "--every",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Seconds from one micro-batch to the next.",
)
@click.option("--batch", type=click.IntRange(min=1), help="Files or messages in one at most.")
@click.option("--checkpoints", type=click.Path(path_type=Path), help="Spark's memory of it.")
@click.option("--schema", help="On Databricks: catalog and schema of the bronze tables.")
@click.option("--landing", help="Landing folder, a path of Spark's on Databricks [POS_LANDING].")
@_places("lakehouse")
def stream(
    once: bool,
    kafka: str | None,
    accept_loss: bool,
    every: float,
    batch: int | None,
    checkpoints: Path | None,
    schema: str | None,
    landing: str | None,
    lakehouse: str | None,
) -> None:
    """Load by Spark's Structured Streaming: what has landed, or Kafka, as `pos load` does."""
    from loaders import stream_session
    from loaders.stream import is_databricks

    _refuse_loss_of_files(kafka, accept_loss=accept_loss)
    if is_databricks():
        if checkpoints is None or schema is None or (landing is None and kafka is None):
            raise click.UsageError("on Databricks it needs --checkpoints, --schema and --landing")
        of = stream_session.input_of(str(landing), kafka, batch, accept_loss=accept_loss)
        stream_session.on_databricks(of, checkpoints, schema, once=once, say=click.echo)
        return
    if schema is not None:
        raise click.UsageError("--schema is for Databricks; here it is bronze in --lakehouse")
    settings = settings_from(Path(landing) if landing else None, lakehouse)
    of = stream_session.input_of(str(settings.landing), kafka, batch, accept_loss=accept_loss)
    stop = _stop_on_signals()
    taken = 0

    def say(feed: str, number: int) -> None:
        nonlocal taken
        taken += number
        click.echo(f"{feed}: {number:,} {'messages' if kafka else 'files'}")

    with stream_session.opened(settings, of, checkpoints) as loading:
        if not once:
            loading.run(every, stop.is_set, say)
            return
        for feed, number in loading.load().items():
            if number:
                say(feed, number)
        if not taken:
            click.echo(f"nothing new in {kafka or settings.landing}")


@pos.command()
@click.option("--source", type=click.Choice(FEEDS), help="Only of this bronze table.")
@click.option("--reason", help="Only for this reason, as in unknown_change_type.")
@click.option("--dry-run", is_flag=True, help="Only say what would be put through.")
@_places("landing", "lakehouse")
def redrive(
    source: str | None,
    reason: str | None,
    dry_run: bool,
    landing: Path | None,
    lakehouse: str | None,
) -> None:
    """Put quarantined rows through again after a fix, each once; then build."""
    from loaders.redrive import redrive as put_through_again

    settings = settings_from(landing, lakehouse)
    report = put_through_again(settings, source, reason, dry_run=dry_run)
    if report.finished:
        click.echo(f"finished what an interrupted re-drive had begun: {report.finished:,} rows")
    for count in report.put:
        done = "would be put through again" if dry_run else "put through again"
        click.echo(f"{count.source}: {count.lines:,} lines {done}: {count.reason}")
    if not report.put:
        click.echo("nothing to re-drive")
    for count in report.left:
        click.echo(f"{count.source}: {count.lines:,} lines left in quarantine: {count.reason}")
    if report.gone:
        click.echo(f"{report.gone:,} rows are in bronze no more and cannot be put through")
    if (report.put or report.finished) and not dry_run:
        click.echo("build to see what becomes of them: pos run --once, or dbt build")


@pos.command()
@_places("lakehouse", "port")
def up(lakehouse: str | None, port: int | None) -> None:
    """Start the embedded engine and register what lies in the lakehouse."""
    from loaders import engine

    settings = settings_from(None, lakehouse, port)
    running, added = engine.up(settings)
    click.echo(f"engine on 127.0.0.1:{running.port} (pid {running.pid}), loopback only")
    click.echo(f"lakehouse {settings.lakehouse}: {len(added)} tables registered")


@pos.command()
@_places("lakehouse", "port")
def down(lakehouse: str | None, port: int | None) -> None:
    """Stop the embedded engine."""
    from loaders import engine

    stopped = engine.down(settings_from(None, lakehouse, port))
    click.echo("engine stopped" if stopped else "no engine was running")


@pos.group()
def kafka() -> None:
    """A Kafka broker for this machine: loopback only, 512 MB; needs Java."""


@kafka.command("up")
@click.option(
    "--kafka-port", type=int, help="Port, and the next one too [POS_KAFKA_PORT, or 9092]."
)
@_places("lakehouse")
def kafka_up(kafka_port: int | None, lakehouse: str | None) -> None:
    """Start the lakehouse's broker; returns once it answers."""
    from loaders.kafka import broker

    _require_kafka()
    running = broker.up(settings_from(None, lakehouse), kafka_port)
    click.echo(f"kafka://127.0.0.1:{running.port} (pid {running.pid}), loopback only")


@kafka.command("down")
@_places("lakehouse")
def kafka_down(lakehouse: str | None) -> None:
    """Stop the lakehouse's broker; its data stay."""
    from loaders.kafka import broker

    stopped = broker.down(settings_from(None, lakehouse))
    click.echo("Kafka broker stopped" if stopped else "no Kafka broker was running")


@kafka.command("status")
@_places("lakehouse")
def kafka_status(lakehouse: str | None) -> None:
    """Say whether the broker answers, what it has, and how much of that is loaded."""
    _require_kafka()
    from loaders.kafka.status import status_lines

    for line in status_lines(settings_from(None, lakehouse)):
        click.echo(line)


@pos.group()
def s3() -> None:
    """An S3-compatible store to try a lakehouse in one with: loopback only, in memory."""


@s3.command("up")
@click.option("--s3-port", type=int, help="Port [POS_S3_PORT, or 9000].")
def s3_up(s3_port: int | None) -> None:
    """Start it, empty; returns once it answers."""
    from loaders.s3 import server

    if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask_cors") is None:
        raise UserError("the store needs moto; install it with: pip install 'pos-lakehouse[s3]'")
    environment = server.up(server.default_folder(), s3_port)
    click.echo(f"use it by its environment: . {environment}")


@s3.command("down")
def s3_down() -> None:
    """Stop it; what was in it is gone."""
    from loaders.s3 import server

    stopped = server.down(server.default_folder())
    click.echo("store stopped" if stopped else "no store was running")


@pos.group()
def cluster() -> None:
    """A Spark cluster on this machine: a master, two workers, loopback only; needs Java."""


@cluster.command("up")
@click.option(
    "--cluster-port", type=int, help="Port, and the five behind it [POS_CLUSTER_PORT, or 7077]."
)
@_places("lakehouse")
def cluster_up(cluster_port: int | None, lakehouse: str | None) -> None:
    """Start what of it does not run; returns once the master knows both workers."""
    from loaders import spark_cluster

    environment = spark_cluster.up(settings_from(None, lakehouse), cluster_port)
    click.echo(f"use it by its environment: . {environment}")


@cluster.command("down")
@_places("lakehouse")
def cluster_down(lakehouse: str | None) -> None:
    """Stop the lakehouse's cluster."""
    from loaders import spark_cluster

    stopped = spark_cluster.down(settings_from(None, lakehouse))
    click.echo("Spark cluster stopped" if stopped else "no Spark cluster was running")


@cluster.command("status")
@_places("lakehouse")
def cluster_status(lakehouse: str | None) -> None:
    """Say which of its parts live, and what runs on it."""
    from loaders import spark_cluster

    for line in spark_cluster.status_lines(settings_from(None, lakehouse)):
        click.echo(line)


@pos.command()
@_places("landing", "lakehouse", "port")
def status(landing: Path | None, lakehouse: str | None, port: int | None) -> None:
    """Say what runs, what is in the lakehouse and what waits in the landing folder."""
    from loaders.status import status_lines

    healthy = True
    for line in status_lines(settings_from(landing, lakehouse, port)):
        click.echo(line.text, err=line.is_problem)
        healthy = healthy and not line.is_problem
    if not healthy:
        sys.exit(1)


@pos.command()
@_places("lakehouse", "port", "target")
def maintain(lakehouse: str | None, port: int | None, target: str | None) -> None:
    """Merge small files, cut logs, remove what no reader needs; `pos run` does so by itself."""
    from loaders import engine, writers
    from loaders.maintenance import Maintenance

    settings = settings_from(None, lakehouse, port, target)
    is_shared = settings.target == "local" and engine.running(settings) is not None
    failed = False
    others_may_write = writers.beside_others if settings.target == "local" else writers.alone
    with others_may_write(settings):
        session = engine.connect(settings) if is_shared else None
        for upkeep in Maintenance(settings).everything(session):
            click.echo(str(upkeep), err=upkeep.problem is not None)
            failed = failed or upkeep.problem is not None
    if failed:
        raise UserError("not all tables could be maintained; the lines above say which")


@pos.command()
@click.argument("statement", required=False)
@click.option("--file", "file", type=click.Path(path_type=Path), help="Read the statement there.")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table")
@click.option(
    "--limit", type=click.IntRange(min=0), help="Rows at most, 0 for all [table: 100, others: all]."
)
@click.option("--raw", is_flag=True, help="CSV: leave text that looks like a formula as it is.")
@_places("lakehouse")
def sql(
    statement: str | None,
    file: Path | None,
    form: str,
    limit: int | None,
    raw: bool,
    lakehouse: str | None,
) -> None:
    """Answer a query; - reads it from standard input; without one, a prompt. Reads only."""
    from loaders.sql import prompt

    if statement is not None and file is not None:
        raise click.UsageError("a statement or a --file, not both")
    settings = settings_from(None, lakehouse)
    rows = (TABLE_ROWS if form == "table" else None) if limit is None else limit or None
    if statement is None and file is None and sys.stdin.isatty():
        prompt.converse(settings, form, rows, raw=raw)
        return
    if file is not None:
        text = _text_of(file)
    else:
        text = sys.stdin.read() if statement in (None, "-") else str(statement)
    prompt.answer(settings, text, form, rows, raw=raw)


@pos.command("sql-server")
@click.option("--sql-port", type=int, help="Port for JDBC and ODBC [POS_SQL_PORT, or 10000].")
@click.option("--stop", is_flag=True, help="Stop the one that runs.")
@_places("lakehouse")
def sql_server(sql_port: int | None, stop: bool, lakehouse: str | None) -> None:
    """Serve the tables to BI tools by JDBC and ODBC (Spark's Thrift server; needs Java)."""
    from loaders.sql import server

    settings = settings_from(None, lakehouse)
    if stop:
        click.echo("SQL server stopped" if server.stop(settings) else "no SQL server was running")
        return
    click.echo("starting Apache Spark: half a minute ...", err=True)
    running = server.start(settings, sql_port)
    click.echo(f"jdbc:hive2://127.0.0.1:{running.port}/gold (pid {running.pid}), loopback only")


@pos.command()
@click.argument("folder", type=click.Path(path_type=Path), default="sample")
@click.option("--port", type=int, default=50061, show_default=True, help="Its engine's port.")
@click.option("--days", default=10, show_default=True)
@click.option("--items", default=2_000, show_default=True)
@click.option("--lines", default=20_000, show_default=True)
@click.option("--seed", default=1, show_default=True)
def sample(folder: Path, port: int, days: int, items: int, lines: int, seed: int) -> None:
    """Make a small lakehouse to try models on, in seconds; prints how to use it."""
    from loaders.sample import make_sample

    exports = make_sample(
        folder, port, days=days, items=items, lines=lines, seed=seed, tell=_tell_aside
    )
    for line in exports:
        click.echo(line)


@pos.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=DEFAULT_PAGE,
    show_default=True,
    help="Folder of the page; open its index.html.",
)
@click.option(
    "--serve",
    "serve_port",
    type=click.IntRange(0, 65535),
    is_flag=False,
    flag_value=DEFAULT_PAGE_PORT,
    metavar="[PORT]",
    help=f"Serve it on loopback [{DEFAULT_PAGE_PORT}] and write it anew when gold changes.",
)
@_every("--every")
@_places("lakehouse")
def page(out: Path, serve_port: int | None, every: float, lakehouse: str | None) -> None:
    """Write the inventory page from gold: a folder of static HTML that needs no engine."""
    settings = settings_from(None, lakehouse)
    if serve_port is None:
        from loaders.page.writing import write_page

        click.echo(write_page(settings, out))
        click.echo(f"open {out}/index.html, or serve it: pos page --serve")
        return
    from loaders.page.serving import serve_page

    serve_page(settings, out, serve_port, every, click.echo, _stop_on_signals())


@pos.command()
@click.option("--once", is_flag=True, help="Take in all that has landed, build once, stop.")
@_from_kafka
@_page_beside
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    envvar="POS_METRICS_PORT",
    help="Serve metrics to Prometheus, on loopback [POS_METRICS_PORT].",
)
@click.option(
    "--metrics-file",
    type=click.Path(path_type=Path),
    envvar="POS_METRICS_FILE",
    help="Write them to a file, as node_exporter reads it [POS_METRICS_FILE].",
)
@_places("landing", "lakehouse", "port", "target")
def run(
    once: bool,
    kafka: str | None,
    accept_loss: bool,
    page: Path | None,
    page_every: float,
    metrics_port: int | None,
    metrics_file: Path | None,
    landing: Path | None,
    lakehouse: str | None,
    port: int | None,
    target: str | None,
) -> None:
    """Load and build whenever something new has landed, until stopped."""
    from loaders.metrics import measured
    from loaders.schedule import Schedule
    from loaders.view import Figures, View

    settings = settings_from(landing, lakehouse, port, target)
    _warn_of_default_hash_key()
    stop = _stop_on_signals()
    figures, failed = Figures(), False
    loader = _loader(settings, kafka, accept_loss=accept_loss, is_resident=not once)
    with (
        Schedule(settings, loader) as schedule,
        View(Console()) as view,
        _live_page(settings, page, page_every, view.say) as live,
        measured(settings, metrics_port, metrics_file, view.say) as measure,
    ):

        def on_tick(tick: Tick) -> None:
            nonlocal failed
            measure(tick)
            failed = tick.failed or (failed and not tick.reports)
            view.observe(tick, figures, settings.lakehouse)
            if live:
                live.after(tick)

        if once:
            on_tick(schedule.tick())
            while not failed and not schedule.is_settled:
                on_tick(schedule.tick())
        else:
            schedule.run(on_tick, stop.is_set)
    if failed:
        raise UserError("the last build failed; the lines above say where")


@pos.command()
@click.option(
    "--month",
    "folder",
    type=click.Path(path_type=Path),
    default=DEFAULT_MONTH,
    show_default=True,
    help="Folder of the simulated month; made if it is missing.",
)
@click.option("--days", default=3, show_default=True, help="Days to play, counted from before.")
@click.option("--speed", default="2400", show_default=True, help="Event seconds a second, or max.")
@click.option("--seed", default=1, show_default=True)
@click.option("--items", default=100_000, show_default=True)
@click.option("--lines", default=1_500_000, show_default=True)
@_page_beside
@_places("landing", "lakehouse", "port", "target")
def demo(
    folder: Path,
    days: int,
    speed: str,
    seed: int,
    items: int,
    lines: int,
    page: Path | None,
    page_every: float,
    landing: Path | None,
    lakehouse: str | None,
    port: int | None,
    target: str | None,
) -> None:
    """Simulate a month, play its first days, build as they come in, check the result."""
    from loaders.demo import prepare_month, run_demo
    from loaders.simulator import Config

    settings = settings_from(landing, lakehouse, port, target)
    _warn_of_default_hash_key()
    stop = _stop_on_signals()
    console = Console()
    month = prepare_month(folder, Config(seed=seed, items=items, lines=lines), console)
    equal = run_demo(
        settings,
        month,
        days=days,
        speed=_speed(speed),
        console=console,
        should_stop=stop,
        page=partial(_live_page, settings, page, page_every),
    )
    if not equal:
        raise UserError("the inventory is not what it should be; the lines above say where")


for _command in COMMANDS:
    pos.add_command(_command)


def main() -> None:
    """Entry point of the console command; turns a :class:`UserError` into a sentence.

    Whatever it and its children write, nobody outside of its group may write: who can put a file
    into a table decides what is in stock.
    """
    os.umask(os.umask(0o022) | 0o002)
    # The command says that a disk is full: not each log that cannot grow as well, by a traceback.
    logging.raiseExceptions = False
    try:
        pos.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except UserError as error:
        click.echo(f"pos: {error}", err=True)
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        refusal = refusal_of_disk(error)
        if refusal is None:
            raise
        click.echo(f"pos: {refusal}", err=True)
        sys.exit(1)


def _stop_on_signals() -> threading.Event:
    """An event that SIGINT and SIGTERM set; a second Ctrl-C ends the process at once."""
    stop = threading.Event()

    def on_signal(number: int, _frame: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    return stop


def _warn_of_default_hash_key() -> None:
    if not os.environ.get("POS_EMPLOYEE_HASH_KEY"):
        click.echo(
            "WARNING: POS_EMPLOYEE_HASH_KEY is not set: employees are hashed with a key that "
            "everybody knows. For real data set one before the first build: openssl rand -hex 32",
            err=True,
        )


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error


def _require_kafka() -> None:
    from loaders.kafka.client import require_client

    require_client()


def _refuse_loss_of_files(kafka: str | None, *, accept_loss: bool) -> None:
    if accept_loss and kafka is None:
        raise click.UsageError("--accept-loss is about Kafka; it goes with --from")


def _loader(
    settings: Settings, kafka: str | None, *, accept_loss: bool, is_resident: bool
) -> Loader:
    """What loads from Kafka, or from the landing folder, or watches what others load."""
    from loaders.watch import BRONZE, BronzeWatch

    if kafka == BRONZE and not accept_loss:
        return BronzeWatch(settings)
    _refuse_loss_of_files(kafka, accept_loss=accept_loss)
    if kafka is None:
        from loaders.load import Loader

        return Loader(settings)
    _require_kafka()
    from loaders.kafka.load import KafkaLoader

    return KafkaLoader(settings, kafka, accept_loss=accept_loss, is_resident=is_resident)


def _tell_aside(text: str) -> None:
    click.echo(text, err=True)


def _live_page(
    settings: Settings, out: Path | None, every: float, say: Callable[[str], None]
) -> AbstractContextManager[LivePage | None]:
    """The page beside the builds, if one is wanted."""
    if out is None:
        return nullcontext()
    from loaders.page.live import LivePage

    return LivePage(settings, out, every, say)


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise UserError(f"--speed is a number above 0, or max; not {text!r}")
    return speed
