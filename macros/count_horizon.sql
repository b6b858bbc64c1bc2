{#
    How far back a run of stock_count_figures has to look, as literals:

    latest_count_at  the latest count there is; no later change is part of a count
    first_landed_at  when the first of the new counts landed; long after, if there is none
    oldest_at        the oldest time from which changes are read again: the count before the oldest of
                     the counts that are new or that a new change belongs to
    is_idle          whether nothing new can move a count

    stock_counts  relation of the counts
    changes_from  relation of the changes
    changes       window of the changes, from new_rows
    counts        window of the counts
    anew          whether all of it is read
    found         what latest_count(), first_landing() and first_count() found, by the names
                  latest_count_at, first_landed_at and first_counted_at
#}
{% macro count_horizon(stock_counts, changes_from, changes, counts, anew, found) %}
    {# Twice as long as from one full count to the next (DESIGN section 7). #}
    {% set recent_days = 10 %}
    {% set horizon = {
        'latest_count_at': '9999-12-31 00:00:00',
        'first_landed_at': '0001-01-01 00:00:00',
        'oldest_at': '0001-01-01 00:00:00',
        'is_idle': false,
    } %}
    {% if execute and not anew %}
        {% do horizon.update(
            latest_count_at=found.latest_count_at or '0001-01-01 00:00:00',
            first_landed_at=found.first_landed_at or '9999-12-31 00:00:00'
        ) %}
        {% set recent_counts_before_sql %}
            -- The oldest of each key: the count before it is older than the one before any other.
            new_counts as (

                select
                    store_id,
                    item_id,
                    min(counted_at) as counted_at
                from {{ stock_counts }}
                where {{ is_new('_ingest_id', counts) }}
                group by store_id, item_id

            ),

            -- Not of all times, or each new count meets all that its key ever had.
            recent_figures as (

                select
                    store_id,
                    item_id,
                    counted_at
                from {{ this }}
                where
                    counted_at
                    >= timestamp '{{ found.first_counted_at or "9999-12-31 00:00:00" }}'
                    - interval {{ recent_days }} day

            ),

            recent_counts_before as (

                select
                    new_counts.store_id,
                    new_counts.item_id,
                    new_counts.counted_at,
                    max(recent_figures.counted_at) as boundary_at
                from new_counts
                left join recent_figures
                    on
                        new_counts.store_id = recent_figures.store_id
                        and new_counts.item_id = recent_figures.item_id
                        and new_counts.counted_at > recent_figures.counted_at
                group by new_counts.store_id, new_counts.item_id, new_counts.counted_at

            )
        {% endset %}
        {% set oldest_sql %}
            with

            {{ recent_counts_before_sql }},

            new_changes as (

                select
                    store_id,
                    item_id,
                    occurred_at
                from {{ changes_from }}
                where {{ precedes_a_count(horizon, changes) }}

            ),

            figures_since_new_changes as (

                select
                    store_id,
                    item_id,
                    counted_at,
                    previous_counted_at
                from {{ this }}
                where counted_at >= (select min(occurred_at) from new_changes)

            ),

            counts_hit as (

                select coalesce(figures.previous_counted_at, figures.counted_at) as boundary_at
                from new_changes
                inner join figures_since_new_changes as figures
                    on
                        new_changes.store_id = figures.store_id
                        and new_changes.item_id = figures.item_id
                        and new_changes.occurred_at <= figures.counted_at
                        and new_changes.occurred_at
                        > coalesce(figures.previous_counted_at, timestamp '0001-01-01 00:00:00')

            )

            select
                cast(min(boundary_at) as string) as oldest_at,
                count(*) - count(boundary_at) as keys_not_counted_lately
            from (
                select boundary_at from recent_counts_before
                union all
                select boundary_at from counts_hit
                union all
                select counted_at as boundary_at from new_counts
            ) as boundaries
        {% endset %}
        {% set oldest = run_query(oldest_sql).rows[0] %}
        {% set boundaries = [oldest[0]] %}
        {# Of those keys, few and mostly none, among all the counts there ever were: a statement of its
           own, because Spark reads 20 million of them for no key as for one. #}
        {% if oldest[1] %}
            {% set long_before_sql %}
                with

                {{ recent_counts_before_sql }},

                counts_long_before as (

                    -- Or Spark sorts all of them.
                    select /*+ broadcast(recent_counts_before) */
                        max(figures.counted_at) as boundary_at
                    from recent_counts_before
                    inner join {{ this }} as figures
                        on
                            recent_counts_before.store_id = figures.store_id
                            and recent_counts_before.item_id = figures.item_id
                            and recent_counts_before.counted_at > figures.counted_at
                    where recent_counts_before.boundary_at is null
                    group by recent_counts_before.store_id, recent_counts_before.item_id

                )

                select cast(min(boundary_at) as string) as oldest_at
                from counts_long_before
            {% endset %}
            {% do boundaries.append(run_query(long_before_sql).rows[0][0]) %}
        {% endif %}
        {# As text they order as times do. #}
        {% set oldest_at = boundaries | reject('none') | min %}
        {% do horizon.update(oldest_at=oldest_at or '9999-12-31 00:00:00', is_idle=not oldest_at) %}
    {% endif %}
    {{ return(horizon) }}
{% endmacro %}


{#
    The changes that this run reads first and that a count may have to take in: new ones from before the
    latest count, and those that landed after the first of the new counts.
#}
{% macro precedes_a_count(horizon, changes) -%}
    {%- set landed = "landed_at > timestamp '" ~ horizon.first_landed_at ~ "'" -%}
    (occurred_on <= date '{{ horizon.latest_count_at[:10] }}' and _ingest_id <= {{ changes.through }}
    {{- ' ' }}and (_ingest_id > {{ changes.after }} or {{ landed }}))
{%- endmacro %}


{# For look_up(): the number of the last publication; none where there is none. #}
{% macro last_publication() -%}
    {%- if execute and is_incremental() -%}
        {{ highest(this, 'publication') }}
    {%- else -%}
        select cast(null as bigint)
    {%- endif -%}
{%- endmacro %}


{# For look_up(): the time of the latest count that inventory_current has taken in. #}
{% macro latest_believed_count() -%}
    select cast(max(counted_at) as string) from {{ ref('inventory_current') }}
{%- endmacro %}


{#
    For look_up(): the time of the latest count that there is. Looked for among those no older than one
    that is known, since the file statistics do not answer for a time.
#}
{% macro latest_count(stock_counts, known_at) -%}
    select cast(max(counted_at) as string)
    from {{ stock_counts }}
    where counted_at >= timestamp '{{ known_at or "0001-01-01 00:00:00" }}'
{%- endmacro %}


{# For look_up(): when the first of the new counts landed. #}
{% macro first_landing(counts) -%}
    select cast(min(landed_at) as string)
    from {{ source('bronze', 'pos_count_rows') }}
    where {{ is_new('ingest_id', counts) }}
{%- endmacro %}


{# For look_up(): the time of the oldest of the new counts. #}
{% macro first_count(stock_counts, counts) -%}
    select cast(min(counted_at) as string)
    from {{ stock_counts }}
    where {{ is_new('_ingest_id', counts) }}
{%- endmacro %}
