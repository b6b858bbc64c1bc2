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
        liquid_clustered_by=['store_id', 'item_id'],
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

-- The new changes, and those on the dates that a key whose count moves needs again; such dates are
-- none if no count moved.
changes as (

    select
        store_id,
        item_id,
        change_type_id,
        quantity,
        occurred_at,
        {{ is_new('_ingest_id', changes) }} as is_new
    from {{ ref('stg_pos__inventory_changes') }}
    where
        ({{ is_new('_ingest_id', changes) }})
        or (occurred_on >= {{ oldest_count_on }} and _ingest_id <= {{ changes.through }})

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

-- A moved key starts from its count, so that all that occurred after it counts; to another key only
-- what is new is added.
dated_changes as (

    select
        changes.store_id,
        changes.item_id,
        change_types.change_type,
        changes.quantity,
        changes.occurred_at,
        changes.is_new,
        case
            when moved_counts.counted_at is not null
                then changes.occurred_at > moved_counts.counted_at
            else
                changes.is_new
                and (believed.counted_at is null or changes.occurred_at > believed.counted_at)
        end as is_since_count
    from changes
    inner join change_types
        on changes.change_type_id = change_types.change_type_id
    left join moved_counts
        on
            changes.store_id = moved_counts.store_id
            and changes.item_id = moved_counts.item_id
    left join believed
        on
            changes.store_id = believed.store_id
            and changes.item_id = believed.item_id

),

-- All that there is to say of any key, one line each.
news as (

    select
        store_id,
        item_id,
        'change' as subject,
        change_type,
        quantity,
        occurred_at as said_at,
        is_new,
        is_since_count
    from dated_changes
    where is_new or is_since_count

    union all

    select
        store_id,
        item_id,
        'count' as subject,
        cast(null as string) as change_type,
        counted_quantity as quantity,
        counted_at as said_at,
        false as is_new,
        false as is_since_count
    from moved_counts

    union all

    select
        store_id,
        item_id,
        'commitment' as subject,
        cast(null as string) as change_type,
        committed_quantity as quantity,
        cast(null as timestamp) as said_at,
        false as is_new,
        false as is_since_count
    from commitments

),

news_of_keys as (

    select
        store_id,
        item_id,
        max(case when subject = 'count' then quantity end) as counted_quantity,
        max(case when subject = 'count' then said_at end) as counted_at,
        {%- for change_type in ['sale', 'shrink', 'restock', 'bopis'] %}
        sum(
            case
                when is_since_count and change_type = '{{ change_type }}' then quantity else 0
            end
        ) as {{ change_type }}_quantity,
        {%- endfor %}
        sum(case when is_new and change_type = 'bopis' then quantity else 0 end)
            as lifetime_bopis_quantity,
        sum(case when is_new and change_type <> 'bopis' then quantity else 0 end)
            as lifetime_other_quantity,
        sum(case when subject = 'commitment' then quantity else 0 end) as committed_quantity,
        max(case when is_new then said_at end) as last_changed_at
    from news
    group by store_id, item_id

),

-- For a moved key the new sums replace what is believed, to the others they are added.
reckoned as (

    select
        coalesce(believed.store_id, news_of_keys.store_id) as store_id,
        coalesce(believed.item_id, news_of_keys.item_id) as item_id,
        believed.store_name as believed_store_name,
        believed.channel as believed_channel,
        coalesce(news_of_keys.counted_quantity, believed.counted_quantity) as counted_quantity,
        coalesce(news_of_keys.counted_at, believed.counted_at) as counted_at,
        {%- for change_type in ['sale', 'shrink', 'restock', 'bopis'] %}
        case
            when news_of_keys.counted_at is null
                then coalesce(believed.{{ change_type }}_quantity, 0)
            else 0
        end + coalesce(news_of_keys.{{ change_type }}_quantity, 0) as {{ change_type }}_quantity,
        {%- endfor %}
        coalesce(believed.lifetime_bopis_quantity, 0)
        + coalesce(news_of_keys.lifetime_bopis_quantity, 0) as lifetime_bopis_quantity,
        coalesce(believed.lifetime_change_quantity, 0)
        - case
            when believed.channel <=> 'online' then 0
            else coalesce(believed.lifetime_bopis_quantity, 0)
        end
        + coalesce(news_of_keys.lifetime_other_quantity, 0) as lifetime_other_quantity,
        coalesce(news_of_keys.committed_quantity, 0) as committed_quantity,
        greatest(news_of_keys.last_changed_at, believed.last_changed_at) as last_changed_at,
        believed.store_id is null
        or news_of_keys.counted_at is not null
        or news_of_keys.last_changed_at is not null
        or believed.committed_quantity <> coalesce(news_of_keys.committed_quantity, 0)
            as is_touched
    from believed
    full outer join news_of_keys
        on
            believed.store_id = news_of_keys.store_id
            and believed.item_id = news_of_keys.item_id

),

-- Keys whose store or item row reads otherwise than when they were last written are touched too.
positions as (

    select
        reckoned.*,
        stores.store_name,
        stores.channel,
        stores.store_id is not null as is_known_store
    from reckoned
    left join stores
        on reckoned.store_id = stores.store_id
    left join new_items
        on reckoned.item_id = new_items.item_id
    where
        reckoned.is_touched
        or not reckoned.believed_store_name <=> stores.store_name
        or not reckoned.believed_channel <=> stores.channel
        or new_items.item_id is not null

),

-- An online BOPIS record is an order: it is counted, but it moves no stock.
described as (

    select
        positions.*,
        items.item_name,
        items.safety_stock_quantity,
        items.item_id is not null as is_known_item,
        positions.sale_quantity + positions.shrink_quantity + positions.restock_quantity
        + case when positions.channel <=> 'online' then 0 else positions.bopis_quantity end
            as change_quantity,
        positions.lifetime_other_quantity
        + case
            when positions.channel <=> 'online' then 0 else positions.lifetime_bopis_quantity
        end as lifetime_change_quantity
    from positions
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
