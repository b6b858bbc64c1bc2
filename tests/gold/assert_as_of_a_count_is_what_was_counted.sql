-- As of the instant of a count, what was counted is in stock: an event of that instant is part of
-- it, and nothing later is. Of the latest fifteen instants at which anything was counted; each of
-- them reads all changes before it.
{{ config(tags=['full']) }}

{% set instants = latest_count_instants(15) %}

with

stock_counts as (

    select
        store_id,
        item_id,
        quantity,
        counted_at
    from {{ ref('stg_pos__stock_counts') }}

),

as_of_instants as (

    {% for instant in instants -%}
    {{ 'union all' if not loop.first }}

    select
        store_id,
        item_id,
        on_hand_quantity,
        timestamp '{{ instant }}' as instant
    from (
        {{ inventory_as_of(instant) }}
    ) as as_of_instant

    {% endfor %}
)

select
    stock_counts.store_id,
    stock_counts.item_id,
    stock_counts.counted_at,
    stock_counts.quantity,
    as_of_instants.on_hand_quantity
from stock_counts
left join as_of_instants
    on
        stock_counts.store_id = as_of_instants.store_id
        and stock_counts.item_id = as_of_instants.item_id
        and stock_counts.counted_at = as_of_instants.instant
where
    stock_counts.counted_at >= timestamp '{{ instants | last }}'
    and not stock_counts.quantity <=> as_of_instants.on_hand_quantity
