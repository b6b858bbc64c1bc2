-- grain: one row per day
-- The days that metrics are shown by, those too on which nothing happened. Nothing that comes in
-- changes it, so only a full build makes it.
{{ config(materialized='table') }}

with

days as (

    select explode(sequence(date '2015-01-01', date '2039-12-31', interval 1 day)) as day_on

),

final as (

    select day_on
    from days

)

select * from final
