-- What a count was first published with, and every restatement since, come to what stands now:
-- nobody changed a published figure without a row that says so.
with

variances as (

    select
        store_id,
        item_id,
        counted_at,
        variance_quantity
    from {{ ref('stock_count_variances') }}

),

first_published as (

    select
        store_id,
        item_id,
        counted_at,
        variance_quantity
    from {{ ref('stock_count_figures') }}
    where figure_version = 1

),

restated as (

    select
        store_id,
        item_id,
        counted_at,
        sum(variance_quantity - believed_variance_quantity) as restated_quantity
    from {{ ref('inventory_restatements') }}
    where figure_version > 1
    group by store_id, item_id, counted_at

)

select
    variances.*,
    first_published.variance_quantity as first_variance_quantity,
    restated.restated_quantity
from variances
left join first_published
    on
        variances.store_id = first_published.store_id
        and variances.item_id = first_published.item_id
        and variances.counted_at = first_published.counted_at
left join restated
    on
        variances.store_id = restated.store_id
        and variances.item_id = restated.item_id
        and variances.counted_at = restated.counted_at
where
    not variances.variance_quantity
    <=> first_published.variance_quantity + coalesce(restated.restated_quantity, 0)
