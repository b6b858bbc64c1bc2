{#
    The event clock as a literal: the latest event time of all kept changes, which is what "now" means
    to a rule in event time. Long ago where there is no change yet.

    latest_on  the latest date of all changes, from latest_on()

    In two steps, because the file statistics answer for a date and not for a time: only the latest
    date is read.
#}
{% macro event_clock(latest_on) -%}
    {%- set clock_sql -%}
        select cast(max(occurred_at) as string) as event_clock
        from {{ ref('stg_pos__inventory_changes') }}
        where occurred_on = date '{{ latest_on }}'
    {%- endset -%}
    {%- set latest = look_up({'clock': clock_sql}).clock if latest_on else none -%}
    timestamp '{{ latest or "0001-01-01 00:00:00" }}'
{%- endmacro %}


{# For look_up(): the latest date of all kept changes. #}
{% macro latest_on() -%}
    select cast(max(occurred_on) as string) from {{ ref('stg_pos__inventory_changes') }}
{%- endmacro %}
