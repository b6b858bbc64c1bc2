-- grain: one row per store, item and entry: a change that moves stock, or a count
-- The account of each item: what came, went and was counted, and what was on hand after it.
-- Not repaired by an increment: nothing. Each run finds the keys that something new happened to and
-- from when on, reads of them the changes since then, and reckons backwards: from what is on hand
-- now, or from the books of the count that ends the interval. So nothing older is read, whether the
-- item was ever counted or not. If the stores' roles change it is made anew, and the pickups that
-- were orders leave it first.
{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key=[
            'store_id', 'item_id', 'change_type', 'trans_id', 'occurred_at', 'occurred_on'
        ],
        partition_by=none if target.type == 'databricks' else ['occurred_on'],
        liquid_clustered_by=['occurred_on'],
        on_schema_change='fail',
        pre_hook='{{ forget_orders_of_online_stores() }}',
        tags=['mart'],
        meta={'merge_prune_by': 'occurred_on:date'}
    )
}}

{# Of the changes, those that inventory_current has read: what it has on hand is their sum. #}
{% set news = new_rows(
    {
        'changes': {
            'upstream': ref('inventory_current'),
            'upstream_cursor': '_changes_ingest_id',
            'cursor': '_changes_ingest_id',
        },
        'publications': {
            'upstream': ref('stock_count_variances'),
            'upstream_cursor': '_publication',
            'cursor': '_publication',
        },
    },
    facts={'roles': store_roles()}
) %}
{% set changes = news.changes %}
{% set publications = news.publications %}
{% set roles = news.roles %}
{% set anew = not is_incremental() or roles_changed(roles, '_changes_ingest_id', changes.after) %}
{% set horizon = ledger_horizon(changes, publications, roles, anew) %}

with

stores as (

    select
        store_id,
        channel
    from {{ ref('stores') }}

),

change_types as (

    select
        change_type_id,
        change_type
    from {{ ref('inventory_change_types') }}

),

positions as (

    select
        store_id,
        item_id,
        on_hand_quantity
    from {{ ref('inventory_current') }}

),

movements as (

    select
        inventory_changes.store_id,
        inventory_changes.item_id,
        change_types.change_type,
        inventory_changes.trans_id,
        inventory_changes.quantity,
        inventory_changes.occurred_at,
        {{ receipt('inventory_changes._ingest_id', 'inventory_changes._ingest_line') }} as receipt,
        case
            when inventory_changes._ingest_id > {{ -1 if anew else changes.after }} then 1 else 0
        end as is_new
    from {{ ref('stg_pos__inventory_changes') }} as inventory_changes
    inner join change_types
        on inventory_changes.change_type_id = change_types.change_type_id
    left join stores
        on inventory_changes.store_id = stores.store_id
    where
        inventory_changes.occurred_on >= date '{{ horizon.oldest_at[:10] }}'
        and inventory_changes._ingest_id <= {{ changes.through }}
        and {{ moves_stock('change_types.change_type', 'stores.channel') }}

),

counts as (

    select
        store_id,
        item_id,
        counted_at,
        counted_quantity,
        book_quantity,
        case
            when _publication > {{ -1 if anew else publications.after }} then 1 else 0
        end as is_new
    from {{ ref('stock_count_variances') }}
    where
        counted_at >= timestamp '{{ horizon.oldest_at }}'
        and _publication <= {{ publications.through }}

),

-- The counts that are in the ledger; none where it is made anew, so that one rule serves both.
recorded_counts as (

    {% if anew -%}
    select
        store_id,
        item_id,
        counted_at,
        counted_quantity
    from counts
    where false
    {%- else -%}
    select
        store_id,
        item_id,
        occurred_at as counted_at,
        balance_quantity as counted_quantity
    from {{ this }}
    where
        change_type = 'count'
        and occurred_on >= date '{{ horizon.oldest_at[:10] }}'
    {%- endif %}

),

-- Counts that are not recorded as they stand: what comes after them reads otherwise. A count of
-- which only the books have changed is none of them.
moved_counts as (

    select
        counts.store_id,
        counts.item_id,
        counts.counted_at
    from counts
    left anti join recorded_counts
        on
            counts.store_id = recorded_counts.store_id
            and counts.item_id = recorded_counts.item_id
            and counts.counted_at = recorded_counts.counted_at
            and counts.counted_quantity = recorded_counts.counted_quantity
    where counts.is_new = 1

),

-- Since when something new happened to a key.
touched_keys as (

    select
        store_id,
        item_id,
        min(happened_at) as touched_at
    from (
        select
            store_id,
            item_id,
            occurred_at as happened_at
        from movements
        where is_new = 1

        union all

        select
            store_id,
            item_id,
            counted_at as happened_at
        from counts
        where is_new = 1
    ) as news
    group by store_id, item_id

),

-- Of one instant the changes come first, in order of receipt, then the count. What a moved count
-- touches begins right after it, which takes a row of its own.
time_line as (

    select
        store_id,
        item_id,
        change_type,
        trans_id,
        quantity as moved_quantity,
        cast(null as bigint) as counted_quantity,
        cast(null as bigint) as book_quantity,
        occurred_at,
        0 as place,
        receipt,
        is_new as is_touched
    from movements

    union all

    select
        store_id,
        item_id,
        'count' as change_type,
        '' as trans_id,
        cast(0 as bigint) as moved_quantity,
        counted_quantity,
        book_quantity,
        counted_at as occurred_at,
        1 as place,
        cast(null as bigint) as receipt,
        is_new as is_touched
    from counts

    union all

    select
        store_id,
        item_id,
        'moved count' as change_type,
        '' as trans_id,
        cast(0 as bigint) as moved_quantity,
        cast(null as bigint) as counted_quantity,
        cast(null as bigint) as book_quantity,
        counted_at as occurred_at,
        2 as place,
        cast(null as bigint) as receipt,
        1 as is_touched
    from moved_counts

),

-- An interval ends in a count, which belongs to it; the last one is still open.
in_intervals as (

    select
        time_line.*,
        min(case when time_line.place = 1 then time_line.occurred_at end) over (
            partition by time_line.store_id, time_line.item_id
            order by time_line.occurred_at desc, time_line.place desc
            rows between unbounded preceding and current row
        ) as interval_ends_at
    from time_line
    inner join touched_keys
        on
            time_line.store_id = touched_keys.store_id
            and time_line.item_id = touched_keys.item_id
            and time_line.occurred_at >= touched_keys.touched_at

),

summed_backwards as (

    select
        *,
        sum(moved_quantity) over (
            partition by store_id, item_id, interval_ends_at
            order by occurred_at desc, place desc, receipt desc
            rows between unbounded preceding and current row
        ) - moved_quantity as moved_quantity_after,
        max(is_touched) over (
            partition by store_id, item_id, interval_ends_at
            order by occurred_at desc, place desc, receipt desc
            rows between current row and unbounded following
        ) as is_touched_before,
        max(book_quantity) over (
            partition by store_id, item_id, interval_ends_at
        ) as book_quantity_at_end
    from in_intervals

),

balanced as (

    select
        summed_backwards.store_id,
        summed_backwards.item_id,
        summed_backwards.change_type,
        summed_backwards.trans_id,
        case
            when summed_backwards.place = 1
                then summed_backwards.counted_quantity - summed_backwards.book_quantity
            else summed_backwards.moved_quantity
        end as quantity,
        case
            when summed_backwards.place = 1 then summed_backwards.counted_quantity
            when summed_backwards.interval_ends_at is null
                then positions.on_hand_quantity - summed_backwards.moved_quantity_after
            else summed_backwards.book_quantity_at_end - summed_backwards.moved_quantity_after
        end as balance_quantity,
        summed_backwards.occurred_at,
        summed_backwards.receipt
    from summed_backwards
    left join positions
        on
            summed_backwards.store_id = positions.store_id
            and summed_backwards.item_id = positions.item_id
    where
        summed_backwards.place < 2
        and summed_backwards.is_touched_before = 1

),

final as (

    select
        store_id,
        item_id,
        change_type,
        trans_id,
        quantity,
        balance_quantity,
        occurred_at,
        receipt as _receipt,
        '{{ roles }}' as _store_roles,
        cast({{ changes.through }} as bigint) as _changes_ingest_id,
        cast({{ publications.through }} as bigint) as _publication,
        to_date(occurred_at) as occurred_on
    from balanced
    {%- if is_incremental() %}
    -- What is reckoned from must be as it was when the cursors were read. If another run has moved
    -- it since: write nothing, the next run goes on from there.
    {%- set is_moved = [
        'written_since._changes_ingest_id > ' ~ changes.through,
        'written_since._counts_ingest_id > ' ~ horizon.counts_through
    ] | join(' or ') %}
    {%- set is_published = 'written_since._publication > ' ~ publications.through %}
    where
        {{ unless_overtaken(ref('inventory_current'), is_moved) }}
        and {{ unless_overtaken(ref('stock_count_variances'), is_published) }}
    {%- endif %}

)

select * from final
