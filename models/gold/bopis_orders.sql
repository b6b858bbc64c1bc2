-- grain: one row per transaction and item of a buy-online-pick-up-in-store order
-- The shop's order and the store's pickup under one transaction, whichever came first.
-- Not repaired by an increment: nothing. Each run reads the new BOPIS records and what it believes
-- of their orders, and the open orders whose time has run out.
{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key=['trans_id', 'item_id'],
        liquid_clustered_by=['ordered_at'],
        on_schema_change='fail',
        meta={'merge_prune_since': 'ordered_at:timestamp'}
    )
}}

{% set news = new_rows(
    {'changes': {
        'upstream': ref('stg_pos__inventory_changes'),
        'upstream_cursor': '_ingest_id',
        'cursor': '_changes_ingest_id',
    }},
    facts={
        'latest_on': latest_on(), 'roles': store_roles(), 'bopis_type_id': change_type_id('bopis')
    }
) %}
{% set changes = news.changes %}
{% set roles = news.roles %}
{% set found = look_up({
    'newest_roles': roles_of_newest('_changes_ingest_id', changes.after),
    'clock': latest_at(news.latest_on),
    'oldest_at': oldest_order_in_reach(
        ref('stg_pos__inventory_changes'), changes, news.bopis_type_id
    ),
}) %}
{% set anew = are_other_roles(roles, found.newest_roles) %}
{% set after = -1 if anew else changes.after %}
{% set clock = clock_literal(found.clock) %}

{{ nothing_new(changes.is_empty and not anew) }}

with

stores as (

    select
        store_id,
        channel
    from {{ ref('stores') }}

),

-- Where an order is collected that does not say: the only physical store, if there is only one.
default_stores as (

    select case when count(*) = 1 then min(store_id) end as store_id
    from stores
    where channel = 'physical'

),

new_records as (

    select
        trans_id,
        item_id,
        store_id,
        fulfillment_store_id,
        quantity,
        occurred_at,
        {{ receipt('_ingest_id', '_ingest_line') }} as receipt
    from {{ ref('stg_pos__inventory_changes') }}
    where
        change_type_id = {{ news.bopis_type_id }}
        and _ingest_id > {{ after }}
        and _ingest_id <= {{ changes.through }}

),

-- The record of an online store is the order, that of any other store the pickup.
summed_records as (

    select
        new_records.trans_id,
        new_records.item_id,
        min(case when stores.channel <=> 'online' then new_records.occurred_at end) as ordered_at,
        sum(case when stores.channel <=> 'online' then -new_records.quantity end)
            as ordered_quantity,
        min_by(
            new_records.fulfillment_store_id,
            case when stores.channel <=> 'online' then new_records.receipt end
        ) as stated_fulfillment_store_id,
        max(case when not stores.channel <=> 'online' then new_records.occurred_at end)
            as picked_up_at,
        sum(
            case
                when stores.channel <=> 'online' then cast(0 as bigint)
                else -new_records.quantity
            end
        ) as picked_up_quantity
    from new_records
    left join stores
        on new_records.store_id = stores.store_id
    group by new_records.trans_id, new_records.item_id

),

-- This table before the run, as far as the run can change it; empty when it is made anew, so that
-- one rule serves both.
believed as (

    {% if is_incremental() and not anew -%}
    select
        trans_id,
        item_id,
        ordered_at,
        ordered_quantity,
        stated_fulfillment_store_id,
        picked_up_at,
        picked_up_quantity,
        status
    from {{ this }}
    where {{ reads_and_changes_only(is_order_in_reach(found.oldest_at)) }}
    {%- else -%}
    select
        trans_id,
        item_id,
        ordered_at,
        ordered_quantity,
        stated_fulfillment_store_id,
        picked_up_at,
        picked_up_quantity,
        cast(null as string) as status
    from summed_records
    where false
    {%- endif %}

),

-- Time runs out for an order without a record that would say so.
orders_run_out as (

    select
        trans_id,
        item_id
    from believed
    where
        status in ('open', 'partly_collected')
        and {{ clock }} > ordered_at + interval '{{ var("bopis_release_days") }}' day

),

touched_orders as (

    select
        trans_id,
        item_id
    from summed_records

    union

    select
        trans_id,
        item_id
    from orders_run_out

),

added_up as (

    select
        touched_orders.trans_id,
        touched_orders.item_id,
        least(believed.ordered_at, summed_records.ordered_at) as ordered_at,
        case
            when believed.ordered_quantity is null then summed_records.ordered_quantity
            else believed.ordered_quantity + coalesce(summed_records.ordered_quantity, 0)
        end as ordered_quantity,
        -- The first received record of the order stands: what is committed does not move about.
        case
            when believed.ordered_at is null then summed_records.stated_fulfillment_store_id
            else believed.stated_fulfillment_store_id
        end as stated_fulfillment_store_id,
        greatest(believed.picked_up_at, summed_records.picked_up_at) as picked_up_at,
        coalesce(believed.picked_up_quantity, 0) + coalesce(summed_records.picked_up_quantity, 0)
            as picked_up_quantity
    from touched_orders
    left join believed
        on
            touched_orders.trans_id = believed.trans_id
            and touched_orders.item_id = believed.item_id
    left join summed_records
        on
            touched_orders.trans_id = summed_records.trans_id
            and touched_orders.item_id = summed_records.item_id

),

assigned as (

    select
        added_up.*,
        added_up.ordered_at + interval '{{ var("bopis_release_days") }}' day as release_at,
        case
            when added_up.ordered_at is not null
                then coalesce(added_up.stated_fulfillment_store_id, default_stores.store_id)
        end as fulfillment_store_id
    from added_up
    cross join default_stores

),

judged as (

    select
        *,
        case
            when ordered_at is null then 'awaiting_order'
            when picked_up_quantity > 0 and picked_up_quantity >= ordered_quantity
                then 'collected'
            when ordered_quantity <= 0 or {{ clock }} > release_at then 'released'
            when picked_up_quantity > 0 then 'partly_collected'
            else 'open'
        end as status
    from assigned

),

final as (

    select
        trans_id,
        item_id,
        status,
        ordered_at,
        ordered_quantity,
        fulfillment_store_id,
        stated_fulfillment_store_id,
        ordered_at is not null and fulfillment_store_id is null as is_unassigned,
        picked_up_at,
        picked_up_quantity,
        case
            when status in ('open', 'partly_collected')
                then ordered_quantity - greatest(picked_up_quantity, 0)
            else 0
        end as open_quantity,
        release_at,
        '{{ roles }}' as _store_roles,
        cast({{ changes.through }} as bigint) as _changes_ingest_id
    from judged
    {%- if is_incremental() %}
    -- Units are added to rows read at one cursor. If another run has moved it since, its rows hold
    -- these records already: write nothing, the next run goes on from there.
    where {{ unless_overtaken(this, 'written_since._changes_ingest_id > ' ~ changes.after) }}
    {%- endif %}

)

select * from final
