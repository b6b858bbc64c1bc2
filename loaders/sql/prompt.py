"""``pos sql``: one statement, or a prompt that keeps what was asked."""

from __future__ import annotations

import atexit
import sys
from pathlib import Path

from rich.console import Console

from loaders.config import Settings
from loaders.errors import UserError
from loaders.sql import output
from loaders.sql.session import Reader, reader
from loaders.sql.statement import checked, is_finished, one_query, split

PROMPT, MORE = "pos> ", "...> "
HELP = (
    "A statement ends with a semicolon. Tables: show tables in gold; columns: describe <table>. "
    "Times are UTC. Leave with exit or Ctrl-D."
)


def answer(settings: Settings, text: str, form: str, limit: int | None, *, raw: bool) -> None:
    """Print the rows of the one query in ``text``; :class:`UserError` where it has none."""
    statement = one_query(text)  # before an engine is started for it
    with reader(settings) as tables:
        show(tables, statement, form, limit, raw=raw)


def show(tables: Reader, statement: str, form: str, limit: int | None, *, raw: bool) -> None:
    """Print the rows of a statement; a table says how many there are, and that there are more."""
    result = tables.query(statement, None if limit is None else limit + 1)
    is_cut = limit is not None and result.num_rows > limit
    result = result.slice(0, limit)
    if form == "csv":
        sys.stdout.flush()
        sys.stdout.buffer.write(output.csv_text(result, raw=raw))
    elif form == "json":
        for line in output.json_lines(result):
            sys.stdout.write(f"{line}\n")
    else:
        console = Console(highlight=False)
        output.print_table(result, console)
        rows = f"{result.num_rows:,} row{'' if result.num_rows == 1 else 's'}"
        console.print(f"(the first {rows}; there are more, see --limit)" if is_cut else f"({rows})")
    if is_cut and form != "table":
        sys.stderr.write(f"cut after {limit:,} rows; see --limit\n")


def converse(settings: Settings, form: str, limit: int | None, *, raw: bool) -> None:
    """Read statements from the terminal until its end; an error is a sentence and not the end."""
    _remember(settings.state / "sql_history")
    with reader(settings) as tables:
        _complete([name for table in tables.tables for name in (table, table.split(".")[1])])
        sys.stdout.write(f"{settings.lakehouse}, reading only. {HELP}\n")
        text = ""
        while True:
            try:
                line = input(MORE if text else PROMPT)
            except KeyboardInterrupt:  # drops what was begun
                sys.stdout.write("\n")
                text = ""
                continue
            except EOFError:
                sys.stdout.write("\n")
                return
            if not text and line.strip().rstrip(";").lower() in ("exit", "quit", "\\q"):
                return
            if not text and line.strip().rstrip(";").lower() in ("help", "\\?", "?"):
                sys.stdout.write(f"{HELP}\n")
                continue
            text = f"{text}\n{line}" if text else line
            if is_finished(text):
                _answer_all(tables, text, form, limit, raw=raw)
                text = ""


def _answer_all(tables: Reader, text: str, form: str, limit: int | None, *, raw: bool) -> None:
    for statement in split(text):
        try:
            show(tables, checked(statement), form, limit, raw=raw)
        except UserError as error:
            sys.stdout.write(f"{error}\n")
        except KeyboardInterrupt:
            sys.stdout.write("interrupted\n")
            return


def _remember(path: Path) -> None:
    """Keep what is typed from one prompt to the next, in the lakehouse's own state folder."""
    import readline

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        sys.stderr.write(f"what you type is not kept: {error}\n")
        return
    readline.read_history_file(path)
    readline.set_history_length(1_000)
    atexit.register(readline.write_history_file, path)


def _complete(names: list[str]) -> None:
    """Let the tab key complete the names of tables."""
    import readline

    def complete(begun: str, number: int) -> str | None:
        matching = [name for name in names if name.startswith(begun)]
        return matching[number] if number < len(matching) else None

    readline.set_completer(complete)
    readline.set_completer_delims(" \t\n,();=<>")
    readline.parse_and_bind("tab: complete")
