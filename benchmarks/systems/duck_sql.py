"""The SQL of the systems on DuckDB: parsing, and the increment that a careful user would write.

The increment knows the rules: changes after a key's count are added to it; a count that is newer
than the key's is taken, with the changes since it, read from the history only for such keys.
"""

from __future__ import annotations

NEW_CHANGES = """
    select
        message.store_id,
        message.item.item_id as item_id,
        message.item.quantity as quantity,
        message.date_time as occurred_at
    from (
        select store_id, change_type_id, date_time, unnest(items) as item
        from read_json(
            [{changes}],
            format = 'newline_delimited',
            columns = {{
                'store_id': 'INTEGER', 'date_time': 'TIMESTAMP', 'change_type_id': 'INTEGER',
                'items': 'STRUCT(item_id BIGINT, quantity BIGINT)[]'
            }}
        )
    ) as message
    where not (message.store_id = 0 and message.change_type_id = 4)
"""

NEW_COUNTS = """
    select store_id, item_id, quantity, date_time as counted_at
    from read_csv(
        [{counts}],
        header = true,
        columns = {{
            'item_id': 'BIGINT', 'employee_id': 'VARCHAR', 'store_id': 'INTEGER',
            'date_time': 'TIMESTAMP', 'quantity': 'BIGINT'
        }}
    )
"""

FULL = """
    with latest as (
        select store_id, item_id, arg_max(quantity, counted_at) as quantity,
            max(counted_at) as counted_at
        from {counts}
        group by store_id, item_id
    ),

    moved as (
        select changes.store_id, changes.item_id, sum(changes.quantity)::bigint as quantity
        from {changes} as changes
        left join latest using (store_id, item_id)
        where latest.counted_at is null or changes.occurred_at > latest.counted_at
        group by changes.store_id, changes.item_id
    )

    select
        store_id,
        item_id,
        coalesce(latest.quantity, 0) + coalesce(moved.quantity, 0) as on_hand_quantity,
        latest.counted_at
    from latest
    full outer join moved using (store_id, item_id)
"""

INCREMENT = """
    with standing as (
        select new.store_id, new.item_id, arg_max(new.quantity, new.counted_at) as quantity,
            max(new.counted_at) as counted_at
        from ({new_counts}) as new
        left join {inventory} as old using (store_id, item_id)
        where old.counted_at is null or new.counted_at >= old.counted_at
        group by new.store_id, new.item_id
    ),

    since as (
        select changes.store_id, changes.item_id, sum(changes.quantity)::bigint as quantity
        from {changes} as changes
        inner join standing using (store_id, item_id)
        where changes.occurred_at > standing.counted_at
        group by changes.store_id, changes.item_id
    ),

    added as (
        select new.store_id, new.item_id,
            sum(new.quantity) filter (
                where old.counted_at is null or new.occurred_at > old.counted_at
            )::bigint as quantity,
            any_value(old.on_hand_quantity) as before,
            any_value(old.counted_at) as counted_at
        from ({new_changes}) as new
        left join {inventory} as old using (store_id, item_id)
        anti join standing using (store_id, item_id)
        group by new.store_id, new.item_id
    )

    select store_id, item_id, standing.quantity + coalesce(since.quantity, 0) as on_hand_quantity,
        standing.counted_at
    from standing
    left join since using (store_id, item_id)
    union all
    select store_id, item_id, coalesce(before, 0) + coalesce(quantity, 0), counted_at
    from added
"""


def listed(paths: list[str]) -> str:
    """Paths as the members of a SQL list."""
    return ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
