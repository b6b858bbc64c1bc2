-- grain: one row per store, item and time of the count
-- Book against counted, per stock count, as it stands now: restated when something landed later
-- that belongs before the count.
-- Not repaired by an increment: nothing. Each run takes over what stock_count_figures has published
-- since.
{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key=['store_id', 'item_id', 'counted_at'],
        liquid_clustered_by=['counted_at'],
        on_schema_change='fail',
        meta={'merge_prune_by': 'counted_at:timestamp'}
    )
}}

{% set publications = new_rows({'publications': {
    'upstream': ref('stock_count_figures'),
    'upstream_cursor': 'publication',
    'cursor': '_publication',
}}).publications %}

{{ nothing_new(publications.is_empty) }}

with

-- The place of each version, and the first place of its count, the newest first; a window for each
-- count would cost by the count.
figures as (

    select
        *,
        row_number() over (
            partition by counted_at
            order by store_id asc, item_id asc, figure_version desc
        ) as place,
        rank() over (partition by counted_at order by store_id, item_id) as first_place_of_count
    from {{ ref('stock_count_figures') }}
    where {{ is_new('publication', publications) }}

),

final as (

    select
        figures.store_id,
        figures.item_id,
        figures.counted_at,
        figures.counted_quantity,
        figures.book_quantity,
        figures.variance_quantity,
        figures.is_restated,
        figures.is_late,
        figures.previous_counted_at,
        figures.previous_counted_quantity,
        figures.change_quantity,
        figures.recorded_shrink_quantity,
        figures.found_shrink_quantity,
        figures.sold_quantity,
        figures.figure_version,
        figures.publication as _publication
    from figures
    {%- if not is_incremental() %}
    -- The log outlives a full refresh. A count that new rules reject is still in it.
    left semi join {{ ref('stg_pos__stock_counts') }} as standing_counts
        on
            figures.store_id = standing_counts.store_id
            and figures.item_id = standing_counts.item_id
            and figures.counted_at = standing_counts.counted_at
    {%- endif %}
    where figures.place = figures.first_place_of_count

)

select * from final
