-- grain: one row per store, item, time of the count and version of its figures
-- What was published of each stock count, version by version: a log that stock_count_variances takes
-- its last word from and inventory_restatements each change of mind. A version's figures never change.
-- Not repaired by an increment: nothing. Each run reads the new counts, the new changes that precede a
-- count, and of the keys and intervals they touch the changes again. A full refresh
-- keeps the log and publishes what comes out otherwise.
{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key=['store_id', 'item_id', 'counted_at', 'figure_version'],
        on_schema_change='fail',
        full_refresh=false,
        meta={'merge_prune_by': 'counted_at:timestamp'}
    )
}}

{# Of the changes, those that inventory_current has read: its lifetime sums are these changes' sums. #}
{% set changes = new_rows(
    ref('inventory_current'), '_changes_ingest_id', '_changes_ingest_id'
) %}
{% set counts = new_rows(ref('stg_pos__stock_counts'), '_ingest_id', '_counts_ingest_id') %}
{% set publication = next_publication() %}
{% set roles = store_roles() %}
{% set anew = not is_incremental() or is_full_refresh() or roles_changed(roles, 'publication') %}
{% set counts_after = -1 if anew else counts.after %}
{% set horizon = count_horizon(
    ref('stg_pos__stock_counts'), ref('stg_pos__inventory_changes'), changes, counts, anew
) %}

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
        lifetime_change_quantity
    from {{ ref('inventory_current') }}

),

-- Every version that was received of a count, also those between two runs.
received_versions as (

    select
        store_id,
        item_id,
        counted_at,
        quantity,
        landed_at,
        redrive_of_ingest_id is not null as is_re_driven,
        ingest_id * 4294967296 + ingest_line as receipt
    from {{ ref('base_pos__count_rows') }}
    where
        ingest_id > {{ counts_after }}
        and ingest_id <= {{ counts.through }}
        and reject_reason is null

),

-- The log before the run, from the oldest count that this run has to do with.
published as (

    {% if is_incremental() -%}
    select
        store_id,
        item_id,
        counted_at,
        figure_version,
        counted_quantity,
        previous_counted_at,
        previous_counted_quantity,
        change_quantity,
        book_quantity,
        variance_quantity,
        recorded_shrink_quantity,
        sold_quantity,
        is_late,
        is_restated,
        believed_counted_quantity,
        believed_book_quantity,
        believed_variance_quantity,
        cause,
        published_at,
        _landed_at,
        _first_receipt,
        _quantity_receipt,
        _is_re_driven
    from {{ this }}
    where counted_at >= timestamp '{{ horizon.oldest_at }}'
    {%- else -%}
    select
        store_id,
        item_id,
        counted_at,
        0 as figure_version,
        quantity as counted_quantity,
        counted_at as previous_counted_at,
        quantity as previous_counted_quantity,
        quantity as change_quantity,
        quantity as book_quantity,
        quantity as variance_quantity,
        quantity as recorded_shrink_quantity,
        quantity as sold_quantity,
        false as is_late,
        false as is_restated,
        quantity as believed_counted_quantity,
        quantity as believed_book_quantity,
        quantity as believed_variance_quantity,
        '' as cause,
        landed_at as published_at,
        landed_at as _landed_at,
        receipt as _first_receipt,
        receipt as _quantity_receipt,
        is_re_driven as _is_re_driven
    from received_versions
    where false
    {%- endif %}

),

-- Movements that this run reads first and that a count may have to take in. Where everything is read
-- anew they are among the others.
new_movements as (

    select
        inventory_changes.store_id,
        inventory_changes.item_id,
        inventory_changes.quantity,
        inventory_changes.occurred_at,
        inventory_changes.landed_at,
        inventory_changes._ingest_id,
        inventory_changes._redrive_of_ingest_id is not null as is_re_driven
    from {{ ref('stg_pos__inventory_changes') }} as inventory_changes
    inner join change_types
        on inventory_changes.change_type_id = change_types.change_type_id
    left join stores
        on inventory_changes.store_id = stores.store_id
    where
        {% if anew -%}
        false
        {%- else -%}
        {{ precedes_a_count(horizon, changes) }}
        and {{ moves_stock('change_types.change_type', 'stores.channel') }}
        {%- endif %}

),

touched_keys as (

    select
        store_id,
        item_id
    from received_versions

    union

    select
        store_id,
        item_id
    from new_movements

),

latest_published as (

    select published_versions.*
    from (
        select
            published.*,
            row_number() over (
                partition by published.store_id, published.item_id, published.counted_at
                order by published.figure_version desc
            ) as newest_first
        from published
        left semi join touched_keys
            on
                published.store_id = touched_keys.store_id
                and published.item_id = touched_keys.item_id
    ) as published_versions
    where published_versions.newest_first = 1

),

versions_with_the_one_before as (

    select
        received_versions.*,
        coalesce(
            lag(received_versions.quantity) over (
                partition by
                    received_versions.store_id,
                    received_versions.item_id,
                    received_versions.counted_at
                order by received_versions.receipt
            ),
            {{ 'cast(null as bigint)' if anew else 'latest_published.counted_quantity' }}
        ) as quantity_before
    from received_versions
    left join latest_published
        on
            received_versions.store_id = latest_published.store_id
            and received_versions.item_id = latest_published.item_id
            and received_versions.counted_at = latest_published.counted_at

),

received_counts as (

    select
        store_id,
        item_id,
        counted_at,
        max_by(quantity, receipt) as quantity,
        max_by(is_re_driven, receipt) as is_re_driven,
        min(landed_at) as landed_at,
        min(receipt) as first_receipt,
        max(case when not quantity <=> quantity_before then receipt end) as quantity_receipt
    from versions_with_the_one_before
    group by store_id, item_id, counted_at

),

-- Every count of the touched keys in reach, as it stands after this run.
standing_counts as (

    select
        coalesce(received_counts.store_id, latest_published.store_id) as store_id,
        coalesce(received_counts.item_id, latest_published.item_id) as item_id,
        coalesce(received_counts.counted_at, latest_published.counted_at) as counted_at,
        coalesce(received_counts.quantity, latest_published.counted_quantity) as quantity,
        coalesce(received_counts.is_re_driven, latest_published._is_re_driven) as is_re_driven,
        least(received_counts.landed_at, latest_published._landed_at) as landed_at,
        least(received_counts.first_receipt, latest_published._first_receipt) as first_receipt,
        coalesce(received_counts.quantity_receipt, latest_published._quantity_receipt)
            as quantity_receipt,
        received_counts.store_id is not null as is_received
    from received_counts
    {{ 'left' if anew else 'full outer' }} join latest_published
        on
            received_counts.store_id = latest_published.store_id
            and received_counts.item_id = latest_published.item_id
            and received_counts.counted_at = latest_published.counted_at

),

movements as (

    select
        inventory_changes.store_id,
        inventory_changes.item_id,
        change_types.change_type,
        inventory_changes.quantity,
        inventory_changes.occurred_at,
        inventory_changes.landed_at,
        inventory_changes._ingest_id,
        inventory_changes._redrive_of_ingest_id is not null as is_re_driven
    from {{ ref('stg_pos__inventory_changes') }} as inventory_changes
    inner join change_types
        on inventory_changes.change_type_id = change_types.change_type_id
    left join stores
        on inventory_changes.store_id = stores.store_id
    left semi join touched_keys
        on
            inventory_changes.store_id = touched_keys.store_id
            and inventory_changes.item_id = touched_keys.item_id
    where
        inventory_changes.occurred_on >= date '{{ horizon.oldest_at[:10] }}'
        and inventory_changes._ingest_id <= {{ changes.through }}
        and {{ moves_stock('change_types.change_type', 'stores.channel') }}

),

-- Movements and counts on one time line, the newest first; of one instant the count comes first, so
-- that what comes before it in this order occurred strictly after it.
time_line as (

    select
        store_id,
        item_id,
        occurred_at as happened_at,
        0 as is_count,
        quantity,
        case when change_type = 'shrink' then -quantity else 0 end as shrink_quantity,
        case when change_type = 'sale' then -quantity else 0 end as sold_quantity,
        landed_at,
        _ingest_id,
        is_re_driven
    from movements

    union all

    select
        store_id,
        item_id,
        counted_at as happened_at,
        1 as is_count,
        cast(0 as bigint) as quantity,
        cast(0 as bigint) as shrink_quantity,
        cast(0 as bigint) as sold_quantity,
        cast(null as timestamp) as landed_at,
        cast(null as bigint) as _ingest_id,
        false as is_re_driven
    from standing_counts

),

summed_backwards as (

    select
        time_line.*,
        {%- for column in ['quantity', 'shrink_quantity', 'sold_quantity'] %}
        sum({{ column }}) over (
            partition by store_id, item_id order by happened_at desc, is_count desc
            rows between unbounded preceding and current row
        ) as {{ column }}_after,
        {%- endfor %}
        min(landed_at) over (
            partition by store_id, item_id order by happened_at desc, is_count desc
            rows between unbounded preceding and current row
        ) as first_landed_after,
        min(case when is_count = 1 then happened_at end) over (
            partition by store_id, item_id order by happened_at desc, is_count desc
            rows between unbounded preceding and current row
        ) as next_counted_at
    from time_line

),

-- What is new or late among the movements that a count takes in.
taken_in as (

    select
        store_id,
        item_id,
        next_counted_at as counted_at,
        max(case when quantity <> 0 then landed_at end) as last_landed_at,
        max(_ingest_id) as last_ingest_id,
        max(case when is_re_driven then _ingest_id end) as last_re_driven_ingest_id
    from summed_backwards
    where is_count = 0 and next_counted_at is not null
    group by store_id, item_id, next_counted_at

),

counts_with_the_one_before as (

    select
        standing_counts.*,
        sums.quantity_after,
        sums.shrink_quantity_after,
        sums.sold_quantity_after,
        sums.first_landed_after,
        {%- for column in ['counted_at', 'quantity', 'is_re_driven', 'quantity_receipt'] %}
        lag(standing_counts.{{ column }}) over (
            partition by standing_counts.store_id, standing_counts.item_id
            order by standing_counts.counted_at
        ) as previous_{{ column }},
        {%- endfor %}
        {%- for column in ['quantity', 'shrink_quantity', 'sold_quantity'] %}
        lag(sums.{{ column }}_after) over (
            partition by standing_counts.store_id, standing_counts.item_id
            order by standing_counts.counted_at
        ) as previous_{{ column }}_after,
        {%- endfor %}
        min(standing_counts.first_receipt) over (
            partition by standing_counts.store_id, standing_counts.item_id
            order by standing_counts.counted_at desc
            rows between unbounded preceding and 1 preceding
        ) as first_receipt_of_later
    from standing_counts
    inner join summed_backwards as sums
        on
            standing_counts.store_id = sums.store_id
            and standing_counts.item_id = sums.item_id
            and standing_counts.counted_at = sums.happened_at
            and sums.is_count = 1

),

-- Movements older than all that was read again: only the first count of a key can take them in.
new_to_first_counts as (

    select
        counts_with_the_one_before.store_id,
        counts_with_the_one_before.item_id,
        counts_with_the_one_before.counted_at,
        max(case when new_movements.quantity <> 0 then new_movements.landed_at end)
            as last_landed_at,
        max(new_movements._ingest_id) as last_ingest_id,
        max(case when new_movements.is_re_driven then new_movements._ingest_id end)
            as last_re_driven_ingest_id
    from counts_with_the_one_before
    inner join new_movements
        on
            counts_with_the_one_before.store_id = new_movements.store_id
            and counts_with_the_one_before.item_id = new_movements.item_id
            and counts_with_the_one_before.counted_at >= new_movements.occurred_at
    where counts_with_the_one_before.previous_counted_at is null
    group by
        counts_with_the_one_before.store_id,
        counts_with_the_one_before.item_id,
        counts_with_the_one_before.counted_at

),

-- The oldest count in reach of a key may have one before it that is out of reach: nothing of this run
-- touches it, or that one would be in reach.
counts_in_reach as (

    select
        counts_with_the_one_before.*,
        latest_published.figure_version,
        latest_published.counted_quantity as published_counted_quantity,
        latest_published.previous_counted_at as published_previous_counted_at,
        latest_published.previous_counted_quantity as published_previous_counted_quantity,
        latest_published.change_quantity as published_change_quantity,
        latest_published.book_quantity as published_book_quantity,
        latest_published.variance_quantity as published_variance_quantity,
        latest_published.recorded_shrink_quantity as published_shrink_quantity,
        latest_published.sold_quantity as published_sold_quantity,
        latest_published.is_late as published_is_late,
        latest_published.is_restated as published_is_restated,
        latest_published.believed_counted_quantity,
        latest_published.believed_book_quantity,
        latest_published.believed_variance_quantity,
        latest_published.cause as published_cause,
        latest_published.published_at as published_before_at,
        positions.lifetime_change_quantity,
        greatest(taken_in.last_landed_at, new_to_first_counts.last_landed_at) as last_landed_at,
        greatest(taken_in.last_ingest_id, new_to_first_counts.last_ingest_id) as last_ingest_id,
        greatest(
            taken_in.last_re_driven_ingest_id, new_to_first_counts.last_re_driven_ingest_id
        ) as last_re_driven_ingest_id
    from counts_with_the_one_before
    left join latest_published
        on
            counts_with_the_one_before.store_id = latest_published.store_id
            and counts_with_the_one_before.item_id = latest_published.item_id
            and counts_with_the_one_before.counted_at = latest_published.counted_at
    left join positions
        on
            counts_with_the_one_before.store_id = positions.store_id
            and counts_with_the_one_before.item_id = positions.item_id
    left join taken_in
        on
            counts_with_the_one_before.store_id = taken_in.store_id
            and counts_with_the_one_before.item_id = taken_in.item_id
            and counts_with_the_one_before.counted_at = taken_in.counted_at
    left join new_to_first_counts
        on
            counts_with_the_one_before.store_id = new_to_first_counts.store_id
            and counts_with_the_one_before.item_id = new_to_first_counts.item_id
            and counts_with_the_one_before.counted_at = new_to_first_counts.counted_at
    where
        counts_with_the_one_before.previous_counted_at is not null
        or latest_published.previous_counted_at is null

),

booked as (

    select
        *,
        coalesce(previous_quantity, 0)
        + coalesce(previous_quantity_after, lifetime_change_quantity, 0) - quantity_after
            as book_quantity,
        coalesce(previous_quantity_after, lifetime_change_quantity, 0) - quantity_after
            as change_quantity,
        previous_shrink_quantity_after - shrink_quantity_after as recorded_shrink_quantity,
        previous_sold_quantity_after - sold_quantity_after as sold_quantity,
        coalesce(published_is_late, false)
        or (
            figure_version is null
            and coalesce(
                first_landed_after < landed_at or first_receipt_of_later < first_receipt, false
            )
        ) as is_late,
        coalesce(published_is_restated, false)
        or quantity_receipt > first_receipt
        or coalesce(previous_quantity_receipt > first_receipt, false)
        or coalesce(last_landed_at > landed_at, false) as is_restated
    from counts_in_reach

),

compared as (

    select
        *,
        figure_version is null
        or quantity <> published_counted_quantity
        or not previous_counted_at <=> published_previous_counted_at
        or not previous_quantity <=> published_previous_counted_quantity
        or change_quantity <> published_change_quantity
        or not recorded_shrink_quantity <=> published_shrink_quantity
        or not sold_quantity <=> published_sold_quantity
        or is_restated <> published_is_restated as is_new_version,
        case
            when figure_version is null and not is_late then null
            when figure_version is null or quantity <> published_counted_quantity
                then case
                    when is_re_driven then 're_drive'
                    when figure_version is null then 'late_count'
                    else 'corrected_count'
                end
            when not previous_counted_at <=> published_previous_counted_at
                then case when previous_is_re_driven then 're_drive' else 'late_count' end
            when not previous_quantity <=> published_previous_counted_quantity
                then case when previous_is_re_driven then 're_drive' else 'corrected_count' end
            when change_quantity <> published_change_quantity and last_ingest_id > {{ changes.after }}
                then case
                    when last_re_driven_ingest_id > {{ changes.after }} then 're_drive'
                    else 'late_event'
                end
            when is_restated <> published_is_restated
                then 'late_event'
            else 'rebuild'
        end as cause
    from booked

),

final as (

    select
        store_id,
        item_id,
        counted_at,
        coalesce(figure_version, 0) + case when is_new_version then 1 else 0 end as figure_version,
        quantity as counted_quantity,
        previous_counted_at,
        previous_quantity as previous_counted_quantity,
        change_quantity,
        book_quantity,
        quantity - book_quantity as variance_quantity,
        recorded_shrink_quantity,
        case when previous_counted_at is not null then book_quantity - quantity end
            as found_shrink_quantity,
        sold_quantity,
        is_late,
        is_restated,
        case when is_new_version then published_counted_quantity else believed_counted_quantity end
            as believed_counted_quantity,
        case when is_new_version then published_book_quantity else believed_book_quantity end
            as believed_book_quantity,
        case
            when is_new_version then published_variance_quantity else believed_variance_quantity
        end as believed_variance_quantity,
        case when is_new_version then cause else published_cause end as cause,
        case
            when is_new_version
                then timestamp '{{ run_started_at.strftime("%Y-%m-%d %H:%M:%S") }}'
            else published_before_at
        end as published_at,
        cast({{ publication }} as bigint) as publication,
        landed_at as _landed_at,
        first_receipt as _first_receipt,
        quantity_receipt as _quantity_receipt,
        is_re_driven as _is_re_driven,
        '{{ roles }}' as _store_roles,
        cast({{ changes.through }} as bigint) as _changes_ingest_id,
        cast({{ counts.through }} as bigint) as _counts_ingest_id
    from compared
    -- A count that was received again as it stands is written again too, or the cursor would stay.
    where is_new_version or is_received

)

select * from final
