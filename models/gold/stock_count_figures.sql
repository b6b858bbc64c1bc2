-- grain: one row per store, item, time of the count and version of its figures
-- What was published of each stock count, version by version: a log that stock_count_variances
-- takes its last word from and inventory_restatements each change of mind. A version's figures
-- never change.
-- Not repaired by an increment: nothing. Each run reads the new counts, the new changes before
-- a count, and of the keys and intervals they touch the changes again. A full refresh keeps the
-- log and publishes what comes out otherwise.
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

{# Of the changes those that inventory_current has read: its lifetime sums are theirs. #}
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
        -- A literal, so that an engine leaves out all that follows from it.
        {{ 'false' if horizon.is_idle else 'true' }}
        and ingest_id > {{ counts_after }}
        and ingest_id <= {{ counts.through }}
        and reject_reason is null

),

-- Changes that this run reads first and that a count may have to take in.
new_changes as (

    select
        store_id,
        item_id
    from {{ ref('stg_pos__inventory_changes') }}
    where {{ 'false' if anew or horizon.is_idle else precedes_a_count(horizon, changes) }}

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
    from new_changes

),

-- What was believed of a count before the run goes before the versions that came in since.
versions as (

    select
        store_id,
        item_id,
        counted_at,
        quantity,
        landed_at,
        is_re_driven,
        receipt,
        receipt as first_receipt,
        cast(null as bigint) as quantity_receipt,
        1 as is_received
    from received_versions
    {%- if not anew %}

    union all

    select
        store_id,
        item_id,
        counted_at,
        counted_quantity as quantity,
        _landed_at as landed_at,
        _is_re_driven as is_re_driven,
        cast(figure_version - 1000000 as bigint) as receipt,  -- before all that is received
        _first_receipt as first_receipt,
        _quantity_receipt as quantity_receipt,
        0 as is_received
    from {{ this }}
    where counted_at >= timestamp '{{ horizon.oldest_at }}'
    {%- endif %}

),

versions_with_the_one_before as (

    select
        *,
        lag(quantity) over (
            partition by store_id, item_id, counted_at
            order by receipt
        ) as quantity_before
    from versions

),

-- Every count in reach as it stands after this run.
standing_counts as (

    select
        store_id,
        item_id,
        counted_at,
        max_by(quantity, receipt) as quantity,
        max_by(is_re_driven, receipt) as is_re_driven,
        min(landed_at) as landed_at,
        min(first_receipt) as first_receipt,
        max(
            case
                when is_received = 0 then quantity_receipt
                when not quantity <=> quantity_before then receipt
            end
        ) as quantity_receipt,
        max(is_received) as is_received
    from versions_with_the_one_before
    group by store_id, item_id, counted_at

),

-- Movements and counts on one time line.
time_line as (

    select
        inventory_changes.store_id,
        inventory_changes.item_id,
        inventory_changes.occurred_at as happened_at,
        0 as is_count,
        inventory_changes.quantity as moved_quantity,
        case
            when change_types.change_type = 'shrink' then -inventory_changes.quantity
            else cast(0 as bigint)
        end as shrink_quantity,
        case
            when change_types.change_type = 'sale' then -inventory_changes.quantity
            else cast(0 as bigint)
        end as sold_quantity,
        inventory_changes._ingest_id,
        cast(null as bigint) as counted_quantity,
        inventory_changes._redrive_of_ingest_id is not null as is_re_driven,
        inventory_changes.landed_at,
        cast(null as bigint) as first_receipt,
        cast(null as bigint) as quantity_receipt,
        0 as is_received
    from {{ ref('stg_pos__inventory_changes') }} as inventory_changes
    inner join change_types
        on inventory_changes.change_type_id = change_types.change_type_id
    left join stores
        on inventory_changes.store_id = stores.store_id
    where
        inventory_changes._ingest_id <= {{ changes.through }}
        and {{ moves_stock('change_types.change_type', 'stores.channel') }}
        and (
            inventory_changes.occurred_on >= date '{{ horizon.oldest_at[:10] }}'
            or {{ 'false' if anew else precedes_a_count(horizon, changes) }}
        )

    union all

    select
        store_id,
        item_id,
        counted_at as happened_at,
        1 as is_count,
        cast(0 as bigint) as moved_quantity,
        cast(0 as bigint) as shrink_quantity,
        cast(0 as bigint) as sold_quantity,
        cast(null as bigint) as _ingest_id,
        quantity as counted_quantity,
        is_re_driven,
        landed_at,
        first_receipt,
        quantity_receipt,
        is_received
    from standing_counts

),

-- The newest first, and at one instant the count first: what comes before a count in this order
-- occurred strictly after it.
summed_backwards as (

    select
        time_line.*,
        {%- for column in ['moved_quantity', 'shrink_quantity', 'sold_quantity'] %}
        sum(time_line.{{ column }}) over (
            partition by time_line.store_id, time_line.item_id
            order by time_line.happened_at desc, time_line.is_count desc
            rows between unbounded preceding and current row
        ) as {{ column }}_after,
        {%- endfor %}
        min(case when time_line.is_count = 0 then time_line.landed_at end) over (
            partition by time_line.store_id, time_line.item_id
            order by time_line.happened_at desc, time_line.is_count desc
            rows between unbounded preceding and current row
        ) as first_landed_after,
        min(case when time_line.is_count = 1 then time_line.happened_at end) over (
            partition by time_line.store_id, time_line.item_id
            order by time_line.happened_at desc, time_line.is_count desc
            rows between unbounded preceding and current row
        ) as counted_at
    from time_line
    left semi join touched_keys
        on
            time_line.store_id = touched_keys.store_id
            and time_line.item_id = touched_keys.item_id

),

-- A count with what it takes in: the movements that are no later than it and later than the one
-- before.
counts as (

    select
        store_id,
        item_id,
        counted_at,
        {%- for column in [
            'counted_quantity', 'landed_at', 'first_receipt', 'quantity_receipt', 'is_received',
            'moved_quantity_after', 'shrink_quantity_after', 'sold_quantity_after',
            'first_landed_after'
        ] %}
        max(case when is_count = 1 then {{ column }} end) as {{ column }},
        {%- endfor %}
        max(case when is_count = 1 and is_re_driven then 1 else 0 end) = 1 as is_re_driven,
        max(case when is_count = 0 and moved_quantity <> 0 then landed_at end) as last_landed_at,
        max(_ingest_id) as last_ingest_id,
        max(case when is_count = 0 and is_re_driven then _ingest_id end) as last_re_driven_ingest_id
    from summed_backwards
    where counted_at is not null
    group by store_id, item_id, counted_at

),

counts_with_the_one_before as (

    select
        *,
        {%- for column in [
            'counted_at', 'counted_quantity', 'is_re_driven', 'quantity_receipt',
            'moved_quantity_after', 'shrink_quantity_after', 'sold_quantity_after'
        ] %}
        lag({{ column }}) over (
            partition by store_id, item_id order by counted_at
        ) as previous_{{ column }},
        {%- endfor %}
        min(first_receipt) over (
            partition by store_id, item_id order by counted_at desc
            rows between unbounded preceding and 1 preceding
        ) as first_receipt_of_later
    from counts

),

-- The log before the run, as far as it is in reach.
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
        published_at
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
        landed_at as published_at
    from received_versions
    where false
    {%- endif %}

),

-- Beside the sums of all changes there ever were, which are what a first count takes in and more.
counts_and_published as (

    select
        counts_with_the_one_before.*,
        {%- for column in [
            'figure_version', 'counted_quantity', 'previous_counted_at', 'previous_counted_quantity',
            'change_quantity', 'book_quantity', 'variance_quantity', 'recorded_shrink_quantity',
            'sold_quantity', 'is_late', 'is_restated', 'cause', 'published_at'
        ] %}
        published.{{ column }} as published_{{ column }},
        {%- endfor %}
        published.believed_counted_quantity,
        published.believed_book_quantity,
        published.believed_variance_quantity,
        positions.lifetime_change_quantity,
        row_number() over (
            partition by
                counts_with_the_one_before.store_id,
                counts_with_the_one_before.item_id,
                counts_with_the_one_before.counted_at
            order by published.figure_version desc
        ) as newest_first
    from counts_with_the_one_before
    left join published
        on
            counts_with_the_one_before.store_id = published.store_id
            and counts_with_the_one_before.item_id = published.item_id
            and counts_with_the_one_before.counted_at = published.counted_at
    left join {{ ref('inventory_current') }} as positions
        on
            counts_with_the_one_before.store_id = positions.store_id
            and counts_with_the_one_before.item_id = positions.item_id

),

-- The oldest count in reach of a key may have one before it that is out of reach. Nothing of this
-- run touches it then, or the other would be in reach too.
counts_in_reach as (

    select *
    from counts_and_published
    where
        newest_first = 1
        and (previous_counted_at is not null or published_previous_counted_at is null)

),

booked as (

    select
        *,
        coalesce(previous_counted_quantity, 0)
        + coalesce(previous_moved_quantity_after, lifetime_change_quantity, 0)
        - moved_quantity_after as book_quantity,
        coalesce(previous_moved_quantity_after, lifetime_change_quantity, 0)
        - moved_quantity_after as change_quantity,
        previous_shrink_quantity_after - shrink_quantity_after as recorded_shrink_quantity,
        previous_sold_quantity_after - sold_quantity_after as sold_quantity,
        coalesce(published_is_late, false)
        or (
            published_figure_version is null
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
        published_figure_version is null
        or counted_quantity <> published_counted_quantity
        or not previous_counted_at <=> published_previous_counted_at
        or not previous_counted_quantity <=> published_previous_counted_quantity
        or change_quantity <> published_change_quantity
        or not recorded_shrink_quantity <=> published_recorded_shrink_quantity
        or not sold_quantity <=> published_sold_quantity
        or is_restated <> published_is_restated as is_new_version,
        case
            when published_figure_version is null and not is_late then null
            when published_figure_version is null or counted_quantity <> published_counted_quantity
                then case
                    when is_re_driven then 're_drive'
                    when published_figure_version is null then 'late_count'
                    else 'corrected_count'
                end
            when not previous_counted_at <=> published_previous_counted_at
                then case when previous_is_re_driven then 're_drive' else 'late_count' end
            when not previous_counted_quantity <=> published_previous_counted_quantity
                then case when previous_is_re_driven then 're_drive' else 'corrected_count' end
            when
                change_quantity <> published_change_quantity
                and last_ingest_id > {{ changes.after }}
                then case
                    when last_re_driven_ingest_id > {{ changes.after }} then 're_drive'
                    else 'late_event'
                end
            when is_restated <> published_is_restated then 'late_event'
            else 'rebuild'
        end as cause
    from booked

),

final as (

    select
        store_id,
        item_id,
        counted_at,
        coalesce(published_figure_version, 0) + case when is_new_version then 1 else 0 end
            as figure_version,
        counted_quantity,
        previous_counted_at,
        previous_counted_quantity,
        change_quantity,
        book_quantity,
        counted_quantity - book_quantity as variance_quantity,
        recorded_shrink_quantity,
        case when previous_counted_at is not null then book_quantity - counted_quantity end
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
                then {{ run_start() }}
            else published_published_at
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
    where is_new_version or is_received = 1

)

select * from final
