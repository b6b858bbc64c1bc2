{#
    A query: what was in stock at another moment. One row per store and item that had been changed or
    counted by then: store_id, item_id, on_hand_quantity, counted_quantity, counted_at.

    at        event time, `2021-01-03 12:00:00` UTC: what occurred or was counted later is left out
    known_at  time of receipt: only what had been received by then, and of a count the version known
              then. So `at` = `known_at` is what was believed at that moment, `at` alone what is known
              of it today. Optional
    keys      condition on store_id and item_id, as SQL text, to read less: `store_id = 1`. Optional

    From the kept changes and from all versions of the counts that are in silver. Never counted: all
    changes up to then. For instance:

        dbt show --inline "{{ inventory_as_of('2021-01-03 12:00:00', keys='store_id = 1') }}"
#}
{% macro inventory_as_of(at, known_at=none, keys=none) -%}
with

kept_changes as (

    select
        store_id,
        item_id,
        change_type_id,
        quantity,
        occurred_at
    from {{ ref('stg_pos__inventory_changes') }}
    where
        occurred_on <= date '{{ at[:10] }}'
        and occurred_at <= timestamp '{{ at }}'
        {%- if known_at %}
        and received_at <= timestamp '{{ known_at }}'
        {%- endif %}
        {%- if keys %}
        and ({{ keys }})
        {%- endif %}

),

-- An online order moves nothing, but its key is known.
movements as (

    select
        kept_changes.store_id,
        kept_changes.item_id,
        kept_changes.occurred_at,
        case
            when {{ moves_stock('change_types.change_type', 'stores.channel') }}
                then kept_changes.quantity
            else cast(0 as bigint)
        end as quantity
    from kept_changes
    inner join {{ ref('inventory_change_types') }} as change_types
        on kept_changes.change_type_id = change_types.change_type_id
    left join {{ ref('stores') }} as stores
        on kept_changes.store_id = stores.store_id

),

-- The latest count first, and of that the version received last.
count_versions as (

    select
        store_id,
        item_id,
        quantity,
        counted_at,
        row_number() over (
            partition by store_id, item_id
            order by counted_at desc, ingest_id desc, ingest_line desc
        ) as latest_first
    from {{ ref('base_pos__count_rows') }}
    where
        reject_reason is null
        and counted_at <= timestamp '{{ at }}'
        -- What the loader has taken in since silver was built is not known to the changes either.
        and ingest_id <= (select max(_ingest_id) from {{ ref('stg_pos__stock_counts') }})
        {%- if known_at %}
        and received_at <= timestamp '{{ known_at }}'
        {%- endif %}
        {%- if keys %}
        and ({{ keys }})
        {%- endif %}

),

latest_counts as (

    select
        store_id,
        item_id,
        quantity,
        counted_at
    from count_versions
    where latest_first = 1

),

-- A count is what the changes after it are added to; it has no time here, so that it is in the sum.
entries as (

    select
        store_id,
        item_id,
        quantity,
        occurred_at
    from movements

    union all

    select
        store_id,
        item_id,
        quantity,
        cast(null as timestamp) as occurred_at
    from latest_counts

)

select
    entries.store_id,
    entries.item_id,
    sum(
        case
            when entries.occurred_at <= latest_counts.counted_at then cast(0 as bigint)
            else entries.quantity
        end
    ) as on_hand_quantity,
    max(latest_counts.quantity) as counted_quantity,
    max(latest_counts.counted_at) as counted_at
from entries
left join latest_counts
    on
        entries.store_id = latest_counts.store_id
        and entries.item_id = latest_counts.item_id
group by entries.store_id, entries.item_id
{%- endmacro %}


{# The latest instants at which anything was counted, `most` of them; one before all if none was. #}
{% macro latest_count_instants(most) %}
    {% set instants_sql %}
        select cast(counted_at as string) as instant
        from {{ ref('stg_pos__stock_counts') }}
        group by counted_at
        order by counted_at desc
        limit {{ most }}
    {% endset %}
    {% set instants = run_query(instants_sql).columns[0].values() | list if execute else [] %}
    {{ return(instants or ['0001-01-01 00:00:00']) }}
{% endmacro %}
