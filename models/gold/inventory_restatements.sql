-- grain: one row per store, item, time of the count and version of its figures: a restatement
-- Every published figure that was changed afterwards: what was believed, what is believed now, why
-- and when. It follows what builds have published, so it depends on when they ran; a full refresh
-- keeps it.
-- Not repaired by an increment: nothing. Each run reads what has been published since.
{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key=['store_id', 'item_id', 'counted_at', 'figure_version'],
        skip_matched_step=true,
        liquid_clustered_by=['counted_at'],
        on_schema_change='fail',
        full_refresh=false,
        meta={'merge_prune_by': 'counted_at:timestamp'}
    )
}}

{% set publications = new_rows({'publications': {
    'upstream': ref('stock_count_figures'),
    'upstream_cursor': 'publication',
    'cursor': '_publication',
    'upstream_where': 'cause is not null',
}}).publications %}

{{ nothing_new(publications.is_empty) }}

with

figures as (

    select *
    from {{ ref('stock_count_figures') }}
    where
        {{ is_new('publication', publications) }}
        and cause is not null

),

-- A late count is the first word on its figures, but it restates the stock on hand from its own
-- time: until then the books were believed.
restated_figures as (

    select *
    from figures
    where
        case
            when figure_version = 1 then counted_quantity <> book_quantity
            else
                counted_quantity <> believed_counted_quantity
                or book_quantity <> believed_book_quantity
        end

),

final as (

    select
        store_id,
        item_id,
        counted_at,
        figure_version,
        cause,
        published_at as restated_at,
        coalesce(believed_counted_quantity, book_quantity) as believed_on_hand_quantity,
        counted_quantity as on_hand_quantity,
        believed_book_quantity,
        book_quantity,
        believed_variance_quantity,
        variance_quantity,
        publication as _publication
    from restated_figures

)

select * from final
