"""Mutations of the project's SQL: each is a mistake that somebody could make.

One edit each, in a scratch copy of the project. The compact world is built by the copy, and what is
built must differ from the oracle: a rule whose breach nothing notices is not tested.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
# What dbt parses; the SQL tests have no part in it, the generic ones are named in the models' YAML.
PARTS = ("models", "macros", "seeds", "snapshots", "tests/generic", "profiles")
FILES = ("dbt_project.yml", "selectors.yml")


@dataclass(frozen=True)
class Mutation:
    """One edit: `old` stands in `file` exactly once."""

    name: str
    file: str
    old: str
    new: str


def scratch_copy(folder: Path) -> Path:
    """The project's SQL in another folder."""
    for part in PARTS:
        shutil.copytree(PROJECT / part, folder / part)
    for file in FILES:
        shutil.copy(PROJECT / file, folder / file)
    return folder


@contextmanager
def mutated(project: Path, mutation: Mutation) -> Iterator[None]:
    """The copy with one mistake in it, put right again afterwards."""
    path = project / mutation.file
    text = path.read_text()
    path.write_text(edited(text, mutation))
    try:
        yield
    finally:
        path.write_text(text)


def edited(text: str, mutation: Mutation) -> str:
    times = text.count(mutation.old)
    assert times == 1, (
        f"mutation {mutation.name}: {mutation.file} has its text {times} times, not once; "
        f"if the SQL was changed, say here how that mistake would be made now:\n{mutation.old}"
    )
    return text.replace(mutation.old, mutation.new)


STAGING = "models/silver/staging/pos"
INTERMEDIATE = "models/silver/intermediate"
CURRENT = "models/gold/inventory_current.sql"
ORDERS = "models/gold/bopis_orders.sql"
FIGURES = "models/gold/stock_count_figures.sql"
ALERTS = "models/gold/inventory_alerts.sql"
LEDGER = "models/gold/inventory_ledger.sql"

# Rules 1 and 3: what an event follows, and what of it is added.
ON_HAND = (
    Mutation(
        "a change at the instant of a new count is added to it",
        CURRENT,
        "then changes.occurred_at > moved_counts.counted_at",
        "then changes.occurred_at >= moved_counts.counted_at",
    ),
    Mutation(
        "a change at the instant of the believed count is added to it",
        CURRENT,
        "or changes.occurred_at > believed.counted_at",
        "or changes.occurred_at >= believed.counted_at",
    ),
    Mutation(
        "a change at the instant of a count is not in its books",
        FIGURES,
        "when movements.occurred_at <= counts_in_reach.counted_at\n"
        "                        then movements.{{ column }}",
        "when movements.occurred_at < counts_in_reach.counted_at\n"
        "                        then movements.{{ column }}",
    ),
    Mutation(
        "a change at the instant of a count is in the books of the next one",
        FIGURES,
        "or counts_in_reach.previous_counted_at < movements.occurred_at",
        "or counts_in_reach.previous_counted_at <= movements.occurred_at",
    ),
    Mutation(
        "a change at the instant of a count comes after it in the ledger",
        LEDGER,
        "            order by time_line.occurred_at desc, time_line.place desc\n",
        "            order by time_line.occurred_at desc, time_line.place\n",
    ),
    Mutation(
        "what follows the older of two moved counts is not read again",
        "macros/oldest_moving_count.sql",
        "select cast(min(to_date(new_counts.counted_at)) as string)",
        "select cast(max(to_date(new_counts.counted_at)) as string)",
    ),
    Mutation(
        "the last commit is read again",
        "macros/new_rows.sql",
        "{{ column }} > {{ window.after }} and",
        "{{ column }} >= {{ window.after }} and",
    ),
    Mutation(
        "the last commit is not read",
        "macros/new_rows.sql",
        "and {{ column }} <= {{ window.through }}",
        "and {{ column }} < {{ window.through }}",
    ),
    Mutation(
        "safety stock is compared with what is on hand",
        CURRENT,
        "coalesce(available_quantity < safety_stock_quantity, false)",
        "coalesce(on_hand_quantity < safety_stock_quantity, false)",
    ),
    Mutation(
        "the first row of an item stands",
        f"{STAGING}/stg_pos__items.sql",
        "order by item_id asc, ingest_id desc, ingest_line desc",
        "order by item_id asc, ingest_id asc, ingest_line asc",
    ),
)

# Rule 2: orders and pickups.
BOPIS = (
    Mutation(
        "an order moves the stock of the shop",
        CURRENT,
        "+ case when positions.channel <=> 'online' then 0 else positions.bopis_quantity end",
        "+ positions.bopis_quantity",
    ),
    Mutation(
        "an order moves stock in counts, ledger and pace",
        "macros/moves_stock.sql",
        "not ({{ change_type }} = 'bopis' and {{ channel }} <=> 'online')",
        "({{ change_type }} is not null or {{ channel }} is null)",
    ),
    Mutation(
        "a record of an order that is closed finds no order",
        "macros/oldest_order_in_reach.sql",
        "new_records.trans_id = orders.trans_id",
        "false",
    ),
    Mutation(
        "a pickup whose order has not come is forgotten when it comes",
        "macros/oldest_order_in_reach.sql",
        " or ordered_at is null)",
        ")",
    ),
    Mutation(
        "an order is released at the end of its time, not past it",
        ORDERS,
        "{{ clock }} > release_at then 'released'",
        "{{ clock }} >= release_at then 'released'",
    ),
    Mutation(
        "an order is not released until something of it happens",
        ORDERS,
        "where\n        status in ('open', 'partly_collected')\n",
        "where\n        false\n",
    ),
    Mutation(
        "what was collected of an order is still kept for it",
        ORDERS,
        "then ordered_quantity - greatest(picked_up_quantity, 0)",
        "then ordered_quantity",
    ),
    Mutation(
        "units are committed at the only store, wherever they are to be collected",
        ORDERS,
        "then coalesce(added_up.stated_fulfillment_store_id, default_stores.store_id)",
        "then default_stores.store_id",
    ),
    Mutation(
        "of the stores that an order states in one build the last stands",
        ORDERS,
        "min_by(\n            new_records.fulfillment_store_id,",
        "max_by(\n            new_records.fulfillment_store_id,",
    ),
    Mutation(
        "of the stores that an order states in two builds the last stands",
        ORDERS,
        "else believed.stated_fulfillment_store_id",
        "else summed_records.stated_fulfillment_store_id",
    ),
    Mutation(
        "a pickup that is known first is forgotten",
        ORDERS,
        "coalesce(believed.picked_up_quantity, 0) + coalesce(summed_records.picked_up_quantity, 0)",
        "coalesce(summed_records.picked_up_quantity, 0)",
    ),
    Mutation(
        "what is committed goes unnoticed where nothing moves",
        CURRENT,
        "or believed.committed_quantity <> coalesce(news_of_keys.committed_quantity, 0)",
        "",
    ),
)

# Rules 3 and 4: counts restate.
RESTATEMENTS = (
    Mutation(
        "the first version of a count stands",
        f"{STAGING}/stg_pos__stock_counts.sql",
        """\
            received.store_id_after <> received.store_id
            or received.item_id_after <> received.item_id,
""",
        """\
            received.store_id_before <> received.store_id
            or received.item_id_before <> received.item_id,
""",
    ),
    Mutation(
        "a count that is sent again as it was is restated",
        f"{STAGING}/stg_pos__stock_counts.sql",
        "max(case when not quantity <=> quantity_before then receipt end),",
        "max(receipt),",
    ),
    Mutation(
        "a count that is sent again has landed only then",
        f"{STAGING}/stg_pos__stock_counts.sql",
        "coalesce(min(believed_first_landed_at), min(landed_at))",
        "min(landed_at)",
    ),
    Mutation(
        "a correction of the believed count is forgotten",
        CURRENT,
        "new_counts.counted_at = believed.counted_at\n            and",
        "false\n            and",
    ),
    Mutation(
        "the count after an inserted one is not restated",
        FIGURES,
        """\
        or not previous_counted_at <=> published_previous_counted_at
        or not previous_counted_quantity <=> published_previous_counted_quantity
""",
        "",
    ),
    Mutation(
        "the count after a corrected one is not restated",
        FIGURES,
        "or not previous_counted_quantity <=> published_previous_counted_quantity",
        "",
    ),
    Mutation(
        "a late event leaves the published count as it was",
        FIGURES,
        """\
    union

    select
        store_id,
        item_id
    from new_changes

""",
        "",
    ),
    Mutation(
        "a late event is not looked for before the count that it hits",
        "macros/count_horizon.sql",
        "select coalesce(figures.previous_counted_at, figures.counted_at) as boundary_at",
        "select figures.counted_at as boundary_at",
    ),
    Mutation(
        "a new count is not held against the one before it",
        "macros/count_horizon.sql",
        "                select boundary_at from recent_counts_before\n                union all\n",
        "",
    ),
    Mutation(
        "a count that was long ago is not looked for",
        "macros/count_horizon.sql",
        "            {% do boundaries.append(run_query(long_before_sql).rows[0][0]) %}\n",
        "",
    ),
    Mutation(
        "a count follows the one received before it",
        FIGURES,
        "max(case when others.counted_at < standing_counts.counted_at then others.counted_at end)",
        "max(case when others._first_receipt < standing_counts._first_receipt\n"
        "            then others.counted_at end)",
    ),
    Mutation(
        "a count is restated by the next build, not by what landed later",
        FIGURES,
        "or coalesce(summed.last_landed_at > counts_in_reach.first_landed_at, false)"
        " as is_restated",
        "or coalesce(summed.last_ingest_id > {{ changes.after }}, false)\n"
        "        and counts_in_reach.published_figure_version is not null as is_restated",
    ),
    Mutation(
        "a count is late if anything happened after it",
        FIGURES,
        "summed.first_landed_after < counts_in_reach.first_landed_at\n",
        "summed.first_landed_after is not null\n",
    ),
    Mutation(
        "a count is late only after a newer count",
        FIGURES,
        "summed.first_landed_after < counts_in_reach.first_landed_at\n",
        "cast(null as boolean)\n",
    ),
    Mutation(
        "a late count is no restatement of the books",
        "models/gold/inventory_restatements.sql",
        "when figure_version = 1 then counted_quantity <> book_quantity",
        "when figure_version = 1 then false",
    ),
)

# Rules 5 and 6: what is kept.
KEPT = (
    Mutation(
        "a repetition in one build is kept",
        f"{STAGING}/stg_pos__inventory_changes.sql",
        "where place = first_place_of_key",
        "where place > 0",
    ),
    Mutation(
        "of repetitions the last stands",
        f"{STAGING}/stg_pos__inventory_changes.sql",
        "order by trans_id, item_id, change_type_id, store_id, ingest_id, ingest_line",
        "order by trans_id, item_id, change_type_id, store_id, ingest_id desc, ingest_line desc",
    ),
    Mutation(
        "a commit with a repetition is booked as kept in full",
        "macros/loads_in_doubt.sql",
        "where not received.item_count <=> kept.line_count",
        "where false",
    ),
    Mutation(
        "a later repetition takes the place of the first",
        f"{STAGING}/stg_pos__inventory_changes.sql",
        "skip_matched_step=true",
        "skip_matched_step=false",
    ),
    Mutation(
        "lines of one item in a message are not summed",
        f"{STAGING}/stg_pos__inventory_changes.sql",
        "sum(quantity) as quantity",
        "max(quantity) as quantity",
    ),
    Mutation(
        "a repetition with another quantity is a repetition",
        f"{INTERMEDIATE}/int_pos__loads_reconciled.sql",
        "kept_changes.quantity = summed_within_message.message_quantity",
        "kept_changes.quantity is not null",
    ),
    Mutation(
        "a repetition with another fulfilling store is a repetition",
        f"{INTERMEDIATE}/int_pos__loads_reconciled.sql",
        """\
                and kept_changes.fulfillment_store_id
                <=> summed_within_message.fulfillment_store_id
""",
        "",
    ),
    Mutation(
        "a line without a quantity is kept",
        f"{STAGING}/base_pos__message_lines.sql",
        "            when typed.quantity is null then 'missing_or_mistyped_quantity'\n",
        "",
    ),
    Mutation(
        "a time far ahead is kept",
        f"{STAGING}/base_pos__message_lines.sql",
        "            when {{ is_ahead_of_receipt('typed.occurred_at', 'typed.received_at') }}\n"
        "                then 'date_time_in_the_future'\n",
        "",
    ),
)

# Alerts and marts.
TOLD = (
    Mutation(
        "a corrected count leaves the balances after it in the ledger",
        LEDGER,
        "rows between current row and unbounded following",
        "rows between current row and current row",
    ),
    Mutation(
        "an alert for an empty shelf is cleared by one unit",
        ALERTS,
        "available_quantity >= 2 as is_cleared",
        "available_quantity >= 1 as is_cleared",
    ),
    Mutation(
        "an alert for a negative stock is cleared by zero",
        ALERTS,
        "on_hand_quantity >= 1 as is_cleared",
        "on_hand_quantity >= 0 as is_cleared",
    ),
    Mutation(
        "an alert for the safety stock is cleared at its line",
        ALERTS,
        "+ greatest(",
        "+ 0 * greatest(",
    ),
    Mutation(
        "an item that was never counted raises alerts",
        ALERTS,
        "where is_counted",
        "where true",
    ),
    Mutation(
        "a sale where the window begins is in it",
        f"{INTERMEDIATE}/int_inventory__sales_pace.sql",
        "inventory_changes.occurred_at > timestamp",
        "inventory_changes.occurred_at >= timestamp",
    ),
    Mutation(
        "an item that sells seldom is suspected as soon as any",
        "models/gold/phantom_stock_suspects.sql",
        "> {{ var('phantom_gap_multiple') }} * sales_pace.span_seconds",
        "> 0",
    ),
    Mutation(
        "a first count is shrink",
        "models/gold/shrink_by_item.sql",
        "    having count(previous_counted_at) > 0\n",
        "",
    ),
)

MUTATIONS = (*ON_HAND, *BOPIS, *RESTATEMENTS, *KEPT, *TOLD)
