-- Each count has exactly one open version in the history, and it says what stands. Two open
-- versions would restate a published figure twice, none would never restate it again. Counts that
-- came in since the snapshot last ran are not looked at.
{{ config(tags=['full']) }}

with

history as (

    select
        store_id,
        item_id,
        counted_at,
        sum(case when dbt_valid_to is null then 1 else 0 end) as open_versions,
        max(case when dbt_valid_to is null then quantity end) as open_quantity
    from {{ ref('stock_counts_history') }}
    group by store_id, item_id, counted_at

),

seen as (

    select max(_ingest_id) as seen_through
    from {{ ref('stock_counts_history') }}

),

stock_counts as (

    select
        counts.store_id,
        counts.item_id,
        counts.counted_at,
        counts.quantity
    from {{ ref('stg_pos__stock_counts') }} as counts
    cross join seen
    where counts._ingest_id <= seen.seen_through

)

select
    coalesce(stock_counts.store_id, history.store_id) as store_id,
    coalesce(stock_counts.item_id, history.item_id) as item_id,
    coalesce(stock_counts.counted_at, history.counted_at) as counted_at,
    stock_counts.quantity,
    history.open_quantity,
    history.open_versions
from history
full outer join stock_counts
    on
        history.store_id = stock_counts.store_id
        and history.item_id = stock_counts.item_id
        and history.counted_at = stock_counts.counted_at
where
    not history.open_versions <=> 1
    or history.open_quantity <> stock_counts.quantity
