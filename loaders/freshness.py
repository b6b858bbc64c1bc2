"""How fresh each source is, by the rules that ``dbt source freshness`` goes by.

The rules stand in the sources' YAML, where dbt reads them; when a source was last received stands
in the file statistics of its table. So a look takes milliseconds and neither engine nor dbt, and
can be taken between two builds. What is stale is shown and fails nothing: a till that is silent is
no fault of the tables. It goes by ``received_at``, the loader's clock, whatever the event time is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from loaders.catalog import SCHEMAS
from loaders.config import Settings
from loaders.errors import UserError
from loaders.load import is_table, open_table

SOURCES_FILE = Path("models/bronze/_bronze__sources.yml")
BRONZE = SCHEMAS[0]
_UNITS = {"minute": "minutes", "hour": "hours", "day": "days"}


@dataclass(frozen=True)
class Rule:
    """What dbt's ``freshness`` says of one source; ``None`` where silence says nothing."""

    table: str
    loaded_at: str
    warn_after: timedelta | None
    error_after: timedelta | None


@dataclass(frozen=True)
class Freshness:
    """One source: when it was last received (UTC), and what dbt calls that: pass, warn, error.

    ``received_at`` is ``None`` where nothing has come in yet, which is not stale: it has not begun.
    """

    rule: Rule
    received_at: datetime | None
    asked_at: datetime

    @property
    def age(self) -> timedelta | None:
        """Since it was last received."""
        return None if self.received_at is None else self.asked_at - self.received_at

    @property
    def status(self) -> str:
        """As dbt has it: ``pass``, ``warn`` or ``error``."""
        for status, limit in (("error", self.rule.error_after), ("warn", self.rule.warn_after)):
            if self.age is not None and limit is not None and self.age > limit:
                return status
        return "pass"

    @property
    def is_stale(self) -> bool:
        """True where dbt would warn or fail."""
        return self.status != "pass"

    def __str__(self) -> str:
        if self.received_at is None or self.age is None:
            return f"{self.rule.table}: nothing received yet"
        text = f"{self.rule.table}: last received {plain(self.age)} ago"
        if self.is_stale:
            limit = self.rule.error_after if self.status == "error" else self.rule.warn_after
            text += f", STALE ({self.status} after {plain(limit or timedelta(0))})"
        return text


def plain(span: timedelta) -> str:
    """A span as people say it, in its largest whole unit.

    >>> plain(timedelta(seconds=59)), plain(timedelta(hours=1)), plain(timedelta(days=2, hours=5))
    ('59 seconds', '1 hour', '2 days')
    """
    seconds = max(int(span.total_seconds()), 0)
    for name, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            count = seconds // length
            return f"{count} {name}{'s' if count > 1 else ''}"
    return f"{seconds} second{'' if seconds == 1 else 's'}"


def freshness_of(settings: Settings) -> list[Freshness]:
    """Each source of bronze as it is now; :class:`UserError` where a table cannot be read."""
    asked_at = datetime.now(UTC)
    return [
        Freshness(rule, _last_received(settings, rule), asked_at)
        for rule in rules(settings.project)
    ]


@cache
def rules(project: Path) -> list[Rule]:
    """The rules in the project's YAML, a table's own before its source's, as dbt takes them."""
    path = project / SOURCES_FILE
    try:
        (source,) = yaml.safe_load(path.read_text())["sources"]
        return [_rule(source, table) for table in source["tables"]]
    except (OSError, ValueError, KeyError, yaml.YAMLError) as error:
        raise UserError(f"cannot read the sources' freshness in {path}: {error}") from error


def _rule(source: dict[str, Any], table: dict[str, Any]) -> Rule:
    config = {**source.get("config", {}), **table.get("config", {})}
    limits = config.get("freshness") or {}
    return Rule(
        table["name"],
        config["loaded_at_field"],
        _span(limits.get("warn_after")),
        _span(limits.get("error_after")),
    )


def _span(limit: dict[str, Any] | None) -> timedelta | None:
    return timedelta(**{_UNITS[limit["period"]]: limit["count"]}) if limit else None


def _last_received(settings: Settings, rule: Rule) -> datetime | None:
    """The latest time of receipt, from the statistics of the table's files."""
    path = settings.table(BRONZE, rule.table)
    if not (path.is_dir() if isinstance(path, Path) else is_table(path)):
        return None
    files = open_table(path).get_add_actions(flatten=True)
    column = f"max.{rule.loaded_at}"
    if files.num_rows == 0 or column not in files.schema.names:
        return None
    received = [moment for moment in files[column].to_pylist() if moment is not None]
    return max(received, default=None)
