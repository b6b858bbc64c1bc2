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
        liquid_clustered_by=['counted_at'],
        on_schema_change='fail',
        full_refresh=false,
        meta={'merge_prune_by': 'counted_at:timestamp'}
    )
}}

{# Of the changes those that inventory_current has read: its lifetime sums are theirs. #}
{% set news = new_rows(
    {
        'changes': {
            'upstream': ref('inventory_current'),
            'upstream_cursor': '_changes_ingest_id',
            'cursor': '_changes_ingest_id',
        },
        'counts': {
            'upstream': ref('stg_pos__stock_counts'),
            'upstream_cursor': '_ingest_id',
            'cursor': '_counts_ingest_id',
        },
    },
    facts={
        'roles': store_roles(),
        'last_publication': last_publication(),
        'believed_count_at': latest_believed_count(),
    }
) %}
{% set changes = news.changes %}
{% set counts = news.counts %}
{% set publication = (news.last_publication or 0) | int + 1 %}
{% set roles = news.roles %}
{% set found = look_up({
    'newest_roles': roles_of_newest('publication', news.last_publication),
    'latest_count_at': latest_count(ref('stg_pos__stock_counts'), news.believed_count_at),
    'first_landed_at': first_landing(counts),
    'first_counted_at': first_count(ref('stg_pos__stock_counts'), counts),
}) %}
{% set anew = not is_incremental() or is_full_refresh()
    or are_other_roles(roles, found.newest_roles) %}
{% set counts_after = -1 if anew else counts.after %}
{% set is_newer = 'written_since.publication >= ' ~ publication %}
{% set is_not_overtaken = unless_overtaken(this, is_newer) if is_incremental() else 'true' %}
{% set was_restated =
    'false' if anew else 'coalesce(counts_in_reach.published_is_restated, false)' %}
{% set is_first_asked = 'true' if anew else 'counts_in_reach.published_figure_version is null' %}
{% set horizon = count_horizon(
    ref('stg_pos__stock_counts'), ref('stg_pos__inventory_changes'), changes, counts, anew, found
) %}

{{ nothing_new(horizon.is_idle) }}

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

-- Changes that this run reads first and that a count may have to take in.
new_changes as (

    select
        store_id,
        item_id
    from {{ ref('stg_pos__inventory_changes') }}
    where {{ 'false' if anew or horizon.is_idle else precedes_a_count(horizon, changes) }}

),

new_counts as (

    select
        store_id,
        item_id
    from {{ ref('stg_pos__stock_counts') }}
    where
        -- A literal, so that an engine leaves out all that follows from it.
        {{ 'false' if horizon.is_idle else 'true' }}
        and _ingest_id > {{ counts_after }}
        and _ingest_id <= {{ counts.through }}

),

touched_keys as (

    select
        store_id,
        item_id
    from new_counts

    union

    select
        store_id,
        item_id
    from new_changes

),

-- The counts in reach: from the one before the oldest that this run has to do with.
standing_counts as (

    select
        stock_counts.store_id,
        stock_counts.item_id,
        stock_counts.counted_at,
        stock_counts.quantity as counted_quantity,
        stock_counts.first_landed_at,
        stock_counts._first_receipt,
        stock_counts._quantity_receipt,
        stock_counts._redrive_of_ingest_id is not null as is_re_driven,
        stock_counts._ingest_id > {{ counts_after }} as is_received
    from {{ ref('stg_pos__stock_counts') }} as stock_counts
    left semi join touched_keys
        on
            stock_counts.store_id = touched_keys.store_id
            and stock_counts.item_id = touched_keys.item_id
    where
        stock_counts.counted_at >= timestamp '{{ horizon.oldest_at }}'
        and stock_counts._ingest_id <= {{ counts.through }}

),

-- Joined and not looked up by windows, here and below: a key has few counts, and a window costs by
-- the key.
counts_and_their_neighbours as (

    select
        standing_counts.store_id,
        standing_counts.item_id,
        standing_counts.counted_at,
        max(case when others.counted_at < standing_counts.counted_at then others.counted_at end)
            as previous_counted_at,
        min(
            case when others.counted_at > standing_counts.counted_at then others._first_receipt end
        ) as first_receipt_of_later
    from standing_counts
    inner join standing_counts as others
        on
            standing_counts.store_id = others.store_id
            and standing_counts.item_id = others.item_id
    group by standing_counts.store_id, standing_counts.item_id, standing_counts.counted_at

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
    where {{ reads_and_changes_only("counted_at >= timestamp '" ~ horizon.oldest_at ~ "'") }}
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
    from {{ ref('stg_pos__stock_counts') }}
    where false
    {%- endif %}

),

latest_versions as (

    select
        store_id,
        item_id,
        counted_at,
        max(figure_version) as figure_version
    from published
    group by store_id, item_id, counted_at

),

-- Beside the sum of all changes there ever were, which is what a first count takes in and more. The
-- oldest count in reach of a key may have one before it that is out of reach: nothing of this run
-- touches it then, or the other would be in reach too.
counts_in_reach as (

    select
        standing_counts.*,
        neighbours.previous_counted_at,
        neighbours.first_receipt_of_later,
        previous_counts.counted_quantity as previous_counted_quantity,
        previous_counts._quantity_receipt as previous_quantity_receipt,
        previous_counts.is_re_driven as previous_is_re_driven,
        positions.lifetime_change_quantity,
        {%- for column in [
            'figure_version', 'counted_quantity', 'previous_counted_at', 'previous_counted_quantity',
            'change_quantity', 'book_quantity', 'variance_quantity', 'recorded_shrink_quantity',
            'sold_quantity', 'is_late', 'is_restated', 'cause', 'published_at'
        ] %}
        published.{{ column }} as published_{{ column }},
        {%- endfor %}
        published.believed_counted_quantity,
        published.believed_book_quantity,
        published.believed_variance_quantity
    from standing_counts
    inner join counts_and_their_neighbours as neighbours
        on
            standing_counts.store_id = neighbours.store_id
            and standing_counts.item_id = neighbours.item_id
            and standing_counts.counted_at = neighbours.counted_at
    left join standing_counts as previous_counts
        on
            neighbours.store_id = previous_counts.store_id
            and neighbours.item_id = previous_counts.item_id
            and neighbours.previous_counted_at = previous_counts.counted_at
    left join latest_versions
        on
            standing_counts.store_id = latest_versions.store_id
            and standing_counts.item_id = latest_versions.item_id
            and standing_counts.counted_at = latest_versions.counted_at
    left join published
        on
            latest_versions.store_id = published.store_id
            and latest_versions.item_id = published.item_id
            and latest_versions.counted_at = published.counted_at
            and latest_versions.figure_version = published.figure_version
    left join {{ ref('inventory_current') }} as positions
        on
            standing_counts.store_id = positions.store_id
            and standing_counts.item_id = positions.item_id
    where
        neighbours.previous_counted_at is not null
        or published.previous_counted_at is null

),

movements as (

    select
        inventory_changes.store_id,
        inventory_changes.item_id,
        inventory_changes.occurred_at,
        inventory_changes.quantity,
        case
            when change_types.change_type = 'shrink' then -inventory_changes.quantity
            else cast(0 as bigint)
        end as shrink_quantity,
        case
            when change_types.change_type = 'sale' then -inventory_changes.quantity
            else cast(0 as bigint)
        end as sold_quantity,
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
        inventory_changes._ingest_id <= {{ changes.through }}
        and {{ moves_stock('change_types.change_type', 'stores.channel') }}
        and (
            inventory_changes.occurred_on >= date '{{ horizon.oldest_at[:10] }}'
            or {{ 'false' if anew else precedes_a_count(horizon, changes) }}
        )

),

-- A count with what it takes in, the movements no later than it and later than the one before, and
-- with those after it: they are what a first count has not taken in of all there ever were.
summed as (

    select
        counts_in_reach.store_id,
        counts_in_reach.item_id,
        counts_in_reach.counted_at,
        {%- for column in ['quantity', 'shrink_quantity', 'sold_quantity'] %}
        coalesce(
            sum(
                case
                    when movements.occurred_at <= counts_in_reach.counted_at
                        then movements.{{ column }}
                end
            ),
            0
        ) as {{ 'moved_' if loop.first }}{{ column }},
        {%- endfor %}
        coalesce(
            sum(
                case
                    when movements.occurred_at > counts_in_reach.counted_at then movements.quantity
                end
            ),
            0
        ) as quantity_after,
        min(
            case
                when movements.occurred_at > counts_in_reach.counted_at then movements.landed_at
            end
        ) as first_landed_after,
        max(
            case
                when
                    movements.occurred_at <= counts_in_reach.counted_at
                    and movements.quantity <> 0
                    then movements.landed_at
            end
        ) as last_landed_at,
        max(
            case
                when movements.occurred_at <= counts_in_reach.counted_at
                    then movements._ingest_id
            end
        ) as last_ingest_id,
        max(
            case
                when
                    movements.occurred_at <= counts_in_reach.counted_at
                    and movements.is_re_driven
                    then movements._ingest_id
            end
        ) as last_re_driven_ingest_id
    from counts_in_reach
    left join movements
        on
            counts_in_reach.store_id = movements.store_id
            and counts_in_reach.item_id = movements.item_id
            and (
                counts_in_reach.previous_counted_at is null
                or counts_in_reach.previous_counted_at < movements.occurred_at
            )
            -- What came after a count says whether it was late, which is asked once.
            and (
                counts_in_reach.counted_at >= movements.occurred_at
                or counts_in_reach.previous_counted_at is null
                or {{ is_first_asked }}
            )
    group by counts_in_reach.store_id, counts_in_reach.item_id, counts_in_reach.counted_at

),

booked as (

    select
        counts_in_reach.*,
        summed.last_ingest_id,
        summed.last_re_driven_ingest_id,
        case
            when counts_in_reach.previous_counted_at is not null then summed.moved_quantity
            else coalesce(counts_in_reach.lifetime_change_quantity, 0) - summed.quantity_after
        end as change_quantity,
        case when counts_in_reach.previous_counted_at is not null then summed.shrink_quantity end
            as recorded_shrink_quantity,
        case when counts_in_reach.previous_counted_at is not null then summed.sold_quantity end
            as sold_quantity,
        case
            when {{ is_first_asked }}
                then coalesce(
                    summed.first_landed_after < counts_in_reach.first_landed_at
                    or counts_in_reach.first_receipt_of_later < counts_in_reach._first_receipt,
                    false
                )
            else counts_in_reach.published_is_late
        end as is_late,
        -- What a first count took in long ago is not looked at again, but remembered.
        {{ was_restated }}
        or counts_in_reach._quantity_receipt > counts_in_reach._first_receipt
        or coalesce(
            counts_in_reach.previous_quantity_receipt > counts_in_reach._first_receipt, false
        )
        or coalesce(summed.last_landed_at > counts_in_reach.first_landed_at, false) as is_restated
    from counts_in_reach
    inner join summed
        on
            counts_in_reach.store_id = summed.store_id
            and counts_in_reach.item_id = summed.item_id
            and counts_in_reach.counted_at = summed.counted_at

),

compared as (

    select
        *,
        coalesce(previous_counted_quantity, 0) + change_quantity as book_quantity,
        published_figure_version is null
        or counted_quantity <> published_counted_quantity
        or not previous_counted_at <=> published_previous_counted_at
        or not previous_counted_quantity <=> published_previous_counted_quantity
        or change_quantity <> published_change_quantity
        or not recorded_shrink_quantity <=> published_recorded_shrink_quantity
        or not sold_quantity <=> published_sold_quantity
        or is_late <> published_is_late
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
        '{{ roles }}' as _store_roles,
        cast({{ changes.through }} as bigint) as _changes_ingest_id,
        cast({{ counts.through }} as bigint) as _counts_ingest_id
    from compared
    -- A count that was received again as it stands is written again too, or the cursor would stay.
    where
        (is_new_version or is_received)
        and {{ is_not_overtaken }}

)

select * from final
