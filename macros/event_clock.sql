{#
    The event clock as a literal: the latest event time of all kept changes, which is what "now" means
    to a rule in event time. From the file statistics. Long ago where there is no change yet.
#}
{% macro event_clock() -%}
    {%- set clock_sql -%}
        select cast(max(occurred_at) as string) as event_clock
        from {{ ref('stg_pos__inventory_changes') }}
    {%- endset -%}
    {%- set latest = run_query(clock_sql).rows[0][0] if execute else none -%}
    timestamp '{{ latest or "0001-01-01 00:00:00" }}'
{%- endmacro %}
