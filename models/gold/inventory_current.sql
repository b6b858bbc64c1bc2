-- grain: one row per store and item
-- What is in stock now: the latest count plus the changes that occurred strictly after it.
-- Not repaired by an increment: nothing. Each run reads the new changes and counts, the rows of the
-- keys they touch and, for keys whose count moved, the changes since that count; and the orders
-- that may be open, to see whose commitments have changed.
{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key=['store_id', 'item_id'],
        on_schema_change='fail',
        meta={'merge_by_rewriting': true}
    )
}}

{% set news = new_rows(
    {
        'changes': {
            'upstream': ref('stg_pos__inventory_changes'),
            'upstream_cursor': '_ingest_id',
            'cursor': '_changes_ingest_id',
        },
        'counts': {
            'upstream': ref('stg_pos__stock_counts'),
            'upstream_cursor': '_ingest_id',
            'cursor': '_counts_ingest_id',
        },
        'items': {
            'upstream': ref('stg_pos__items'),
            'upstream_cursor': '_ingest_id',
            'cursor': '_items_ingest_id',
        },
    },
    facts={'latest_on': latest_on()}
) %}
{% set changes = news.changes %}
{% set counts = news.counts %}
{% set clock = event_clock(news.latest_on) %}
{% set oldest_count_on = oldest_moving_count(ref('stg_pos__stock_counts'), counts) %}

with

stores as (

    select
        store_id,
        store_name,
        channel
    from {{ ref('stores') }}

),

items as (

    select
        item_id,
        item_name,
        safety_stock_quantity
    from {{ ref('stg_pos__items') }}

),

new_items as (

    select item_id
    from {{ ref('stg_pos__items') }}
    where {{ is_new('_ingest_id', news['items']) }}

),

change_types as (

    select
        change_type_id,
        change_type
    from {{ ref('inventory_change_types') }}

),

new_changes as (

    select
        store_id,
        item_id,
        change_type_id,
        quantity,
        occurred_at
    from {{ ref('stg_pos__inventory_changes') }}
    where {{ is_new('_ingest_id', changes) }}

),

new_counts as (

    select
        store_id,
        item_id,
        max_by(quantity, counted_at) as counted_quantity,
        max(counted_at) as counted_at
    from {{ ref('stg_pos__stock_counts') }}
    where {{ is_new('_ingest_id', counts) }}
    group by store_id, item_id

),

-- Changes on the dates that a key whose count moves may need again; on none if no count moved.
changes_since_oldest_count as (

    select
        store_id,
        item_id,
        change_type_id,
        quantity,
        occurred_at
    from {{ ref('stg_pos__inventory_changes') }}
    where
        occurred_on >= {{ oldest_count_on }}
        and _ingest_id <= {{ changes.through }}

),

-- Orders that may be open by the event clock, and those written since this table was: the others
-- have been let go of.
commitments as (

    select
        fulfillment_store_id as store_id,
        item_id,
        sum(open_quantity) as committed_quantity
    from {{ ref('bopis_orders') }}
    where
        fulfillment_store_id is not null
        and (
            ordered_at >= {{ clock }} - interval '{{ var("bopis_release_days") }}' day
            or _changes_ingest_id > {{ changes.after }}
        )
    group by fulfillment_store_id, item_id

),

-- This table before the run; empty when it is built anew, so that one rule serves both.
believed as (

    {% if is_incremental() -%}
    select
        store_id,
        item_id,
        store_name,
        channel,
        counted_quantity,
        counted_at,
        sale_quantity,
        shrink_quantity,
        restock_quantity,
        bopis_quantity,
        lifetime_change_quantity,
        lifetime_bopis_quantity,
        committed_quantity,
        last_changed_at
    from {{ this }}
    {%- else -%}
    select
        store_id,
        item_id,
        cast(null as string) as store_name,
        cast(null as string) as channel,
        cast(null as bigint) as counted_quantity,
        counted_at,
        cast(null as bigint) as sale_quantity,
        cast(null as bigint) as shrink_quantity,
        cast(null as bigint) as restock_quantity,
        cast(null as bigint) as bopis_quantity,
        cast(null as bigint) as lifetime_change_quantity,
        cast(null as bigint) as lifetime_bopis_quantity,
        cast(null as bigint) as committed_quantity,
        counted_at as last_changed_at
    from new_counts
    where false
    {%- endif %}

),

-- A newer count than the one believed moves its key, and so does a correction of that one. An older
-- count changes nothing here.
moved_counts as (

    select
        new_counts.store_id,
        new_counts.item_id,
        new_counts.counted_quantity,
        new_counts.counted_at
    from new_counts
    left join believed
        on
            new_counts.store_id = believed.store_id
            and new_counts.item_id = believed.item_id
    where
        believed.counted_at is null
        or new_counts.counted_at > believed.counted_at
        or (
            new_counts.counted_at = believed.counted_at
            and new_counts.counted_quantity <> believed.counted_quantity
        )

),

changes_since_moved_count as (

    select
        changes_since_oldest_count.store_id,
        changes_since_oldest_count.item_id,
        changes_since_oldest_count.change_type_id,
        changes_since_oldest_count.quantity
    from changes_since_oldest_count
    inner join moved_counts
        on
            changes_since_oldest_count.store_id = moved_counts.store_id
            and changes_since_oldest_count.item_id = moved_counts.item_id
            and changes_since_oldest_count.occurred_at > moved_counts.counted_at

),

new_changes_since_believed_count as (

    select
        new_changes.store_id,
        new_changes.item_id,
        new_changes.change_type_id,
        new_changes.quantity
    from new_changes
    left join believed
        on
            new_changes.store_id = believed.store_id
            and new_changes.item_id = believed.item_id
    left anti join moved_counts
        on
            new_changes.store_id = moved_counts.store_id
            and new_changes.item_id = moved_counts.item_id
    where
        believed.counted_at is null
        or new_changes.occurred_at > believed.counted_at

),

-- For a moved key these sums replace what is believed, for the others they are added to it.
summed_changes as (

    select
        unsummed.store_id,
        unsummed.item_id,
        {% for change_type in ['sale', 'shrink', 'restock', 'bopis'] -%}
        sum(
            case
                when change_types.change_type = '{{ change_type }}' then unsummed.quantity
                else 0
            end
        ) as {{ change_type }}_quantity,
        {% endfor -%}
        count(*) as change_count
    from (
        select * from changes_since_moved_count
        union all
        select * from new_changes_since_believed_count
    ) as unsummed
    inner join change_types
        on unsummed.change_type_id = change_types.change_type_id
    group by unsummed.store_id, unsummed.item_id

),

-- Whatever count they precede: what a key has moved in all its life.
all_new_changes as (

    select
        new_changes.store_id,
        new_changes.item_id,
        max(new_changes.occurred_at) as last_changed_at,
        sum(
            case when change_types.change_type = 'bopis' then new_changes.quantity else 0 end
        ) as bopis_quantity,
        sum(
            case when change_types.change_type = 'bopis' then 0 else new_changes.quantity end
        ) as other_quantity
    from new_changes
    inner join change_types
        on new_changes.change_type_id = change_types.change_type_id
    group by new_changes.store_id, new_changes.item_id

),

-- Keys whose store or item row reads otherwise than when they were last written.
keys_of_changed_stores as (

    select
        believed.store_id,
        believed.item_id
    from believed
    left join stores
        on believed.store_id = stores.store_id
    where
        not believed.store_name <=> stores.store_name
        or not believed.channel <=> stores.channel

),

keys_of_changed_items as (

    select
        believed.store_id,
        believed.item_id
    from believed
    left semi join new_items
        on believed.item_id = new_items.item_id

),

-- Keys that more or fewer units are committed of; a key that nothing has moved yet among them.
keys_of_changed_commitments as (

    select
        commitments.store_id,
        commitments.item_id
    from commitments
    left join believed
        on
            commitments.store_id = believed.store_id
            and commitments.item_id = believed.item_id
    where
        believed.store_id is null
        or believed.committed_quantity <> commitments.committed_quantity

    union all

    select
        believed.store_id,
        believed.item_id
    from believed
    left anti join commitments
        on
            believed.store_id = commitments.store_id
            and believed.item_id = commitments.item_id
    where believed.committed_quantity <> 0

),

touched_keys as (

    select
        store_id,
        item_id
    from all_new_changes

    union

    select
        store_id,
        item_id
    from moved_counts

    union

    select
        store_id,
        item_id
    from keys_of_changed_stores

    union

    select
        store_id,
        item_id
    from keys_of_changed_items

    union

    select
        store_id,
        item_id
    from keys_of_changed_commitments

),

positions as (

    select
        touched_keys.store_id,
        touched_keys.item_id,
        coalesce(moved_counts.counted_quantity, believed.counted_quantity) as counted_quantity,
        coalesce(moved_counts.counted_at, believed.counted_at) as counted_at,
        {%- for change_type in ['sale', 'shrink', 'restock', 'bopis'] %}
        case
            when moved_counts.counted_at is null
                then coalesce(believed.{{ change_type }}_quantity, 0)
            else 0
        end + coalesce(summed_changes.{{ change_type }}_quantity, 0) as {{ change_type }}_quantity,
        {%- endfor %}
        coalesce(believed.lifetime_bopis_quantity, 0)
        + coalesce(all_new_changes.bopis_quantity, 0) as lifetime_bopis_quantity,
        coalesce(believed.lifetime_change_quantity, 0)
        - case
            when believed.channel <=> 'online' then 0
            else coalesce(believed.lifetime_bopis_quantity, 0)
        end
        + coalesce(all_new_changes.other_quantity, 0) as lifetime_other_quantity,
        coalesce(commitments.committed_quantity, 0) as committed_quantity,
        greatest(all_new_changes.last_changed_at, believed.last_changed_at) as last_changed_at
    from touched_keys
    left join believed
        on
            touched_keys.store_id = believed.store_id
            and touched_keys.item_id = believed.item_id
    left join moved_counts
        on
            touched_keys.store_id = moved_counts.store_id
            and touched_keys.item_id = moved_counts.item_id
    left join summed_changes
        on
            touched_keys.store_id = summed_changes.store_id
            and touched_keys.item_id = summed_changes.item_id
    left join all_new_changes
        on
            touched_keys.store_id = all_new_changes.store_id
            and touched_keys.item_id = all_new_changes.item_id
    left join commitments
        on
            touched_keys.store_id = commitments.store_id
            and touched_keys.item_id = commitments.item_id

),

-- An online BOPIS record is an order: it is counted, but it moves no stock.
described as (

    select
        positions.*,
        stores.store_name,
        stores.channel,
        items.item_name,
        items.safety_stock_quantity,
        stores.store_id is not null as is_known_store,
        items.item_id is not null as is_known_item,
        positions.sale_quantity + positions.shrink_quantity + positions.restock_quantity
        + case when stores.channel <=> 'online' then 0 else positions.bopis_quantity end
            as change_quantity,
        positions.lifetime_other_quantity
        + case
            when stores.channel <=> 'online' then 0 else positions.lifetime_bopis_quantity
        end as lifetime_change_quantity
    from positions
    left join stores
        on positions.store_id = stores.store_id
    left join items
        on positions.item_id = items.item_id

),

balanced as (

    select
        *,
        coalesce(counted_quantity, 0) + change_quantity as on_hand_quantity,
        coalesce(counted_quantity, 0) + change_quantity - committed_quantity as available_quantity
    from described

),

final as (

    select
        store_id,
        item_id,
        store_name,
        channel,
        item_name,
        on_hand_quantity,
        committed_quantity,
        available_quantity,
        greatest(available_quantity - coalesce(safety_stock_quantity, 0), 0)
            as available_to_promise_quantity,
        counted_quantity,
        change_quantity,
        sale_quantity,
        shrink_quantity,
        restock_quantity,
        bopis_quantity,
        lifetime_change_quantity,
        lifetime_bopis_quantity,
        safety_stock_quantity,
        counted_at is not null as is_counted,
        on_hand_quantity < 0 as is_negative,
        coalesce(available_quantity < safety_stock_quantity, false) as is_below_safety_stock,
        is_known_store,
        is_known_item,
        counted_at,
        last_changed_at,
        cast({{ changes.through }} as bigint) as _changes_ingest_id,
        cast({{ counts.through }} as bigint) as _counts_ingest_id,
        cast({{ news['items'].through }} as bigint) as _items_ingest_id
    from balanced
    {%- if is_incremental() %}
    -- Sums are added to rows read at one cursor. If another run has moved it since, its rows hold
    -- these changes already: write nothing, the next run goes on from there.
    {%- set is_newer = [
        'written_since._changes_ingest_id > ' ~ changes.after,
        'written_since._counts_ingest_id > ' ~ counts.after
    ] | join(' or ') %}
    where {{ unless_overtaken(this, is_newer) }}
    {%- endif %}

)

select * from final
