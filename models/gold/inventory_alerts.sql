-- grain: one row per store, item and alert
-- What store operations are told: negative, out of stock, below safety stock. An alert is raised at
-- one quantity and cleared only at a higher one, so that stock around the line does not raise it
-- again and again.
-- Not repaired by an increment: nothing. Each run compares all of inventory_current (a row per key,
-- whatever the history) with what has been raised, and writes what is raised or cleared now. What
-- has been announced stays announced: a full refresh keeps the table.
{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key=['store_id', 'item_id', 'alert'],
        liquid_clustered_by=['store_id', 'item_id'],
        on_schema_change='fail',
        full_refresh=false,
        meta={'merge_by_rewriting': true}
    )
}}

with

-- A key that was never counted has no known level, only movements: it would raise alerts of
-- nothing.
positions as (

    select
        store_id,
        item_id,
        on_hand_quantity,
        available_quantity,
        safety_stock_quantity
    from {{ ref('inventory_current') }}
    where is_counted

),

-- The event clock: whatever was kept has changed a key here. Null before the first change.
clocks as (

    select max(last_changed_at) as event_clock_at
    from {{ ref('inventory_current') }}

),

believed as (

    {% if is_incremental() -%}
    select
        store_id,
        item_id,
        alert,
        is_active,
        raised_at,
        raised_quantity,
        times_raised
    from {{ this }}
    {%- else -%}
    select
        store_id,
        item_id,
        '' as alert,
        false as is_active,
        cast(null as timestamp) as raised_at,
        on_hand_quantity as raised_quantity,
        0 as times_raised
    from positions
    where false
    {%- endif %}

),

measured as (

    select
        store_id,
        item_id,
        'negative' as alert,
        on_hand_quantity as quantity,
        on_hand_quantity < 0 as is_raised,
        on_hand_quantity >= 1 as is_cleared
    from positions

    union all

    select
        store_id,
        item_id,
        'out_of_stock' as alert,
        available_quantity as quantity,
        available_quantity <= 0 as is_raised,
        available_quantity >= 2 as is_cleared
    from positions

    union all

    select
        store_id,
        item_id,
        'below_safety_stock' as alert,
        available_quantity as quantity,
        coalesce(available_quantity < safety_stock_quantity, false) as is_raised,
        safety_stock_quantity is null
        or available_quantity >= safety_stock_quantity
        + greatest(
            1, ceil(safety_stock_quantity * {{ var('alert_clearance_percent') }} / 100)
        ) as is_cleared
    from positions

),

turned as (

    select
        measured.store_id,
        measured.item_id,
        measured.alert,
        measured.quantity,
        measured.is_raised,
        believed.raised_at,
        believed.raised_quantity,
        coalesce(believed.times_raised, 0) as times_raised
    from measured
    left join believed
        on
            measured.store_id = believed.store_id
            and measured.item_id = believed.item_id
            and measured.alert = believed.alert
    where
        case
            when coalesce(believed.is_active, false) then measured.is_cleared
            else measured.is_raised
        end

),

final as (

    select
        turned.store_id,
        turned.item_id,
        turned.alert,
        turned.is_raised as is_active,
        case when turned.is_raised then clocks.event_clock_at else turned.raised_at end
            as raised_at,
        case when not turned.is_raised then clocks.event_clock_at end as cleared_at,
        case when turned.is_raised then turned.quantity else turned.raised_quantity end
            as raised_quantity,
        turned.times_raised + case when turned.is_raised then 1 else 0 end as times_raised
    from turned
    cross join clocks

)

select * from final
