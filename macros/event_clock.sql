{#
    The event clock as a literal: the latest event time of all kept changes, which is what "now" means
    to a rule in event time. Long ago where there is no change yet.

    latest_on  the latest date of all changes, from latest_on()

    In two steps, because the file statistics answer for a date and not for a time: only the latest
    date is read.
#}
{% macro event_clock(latest_on) -%}
    {{ clock_literal(look_up({'clock': latest_at(latest_on)}).clock) }}
{%- endmacro %}


{# For look_up(): the event clock as text. #}
{% macro latest_at(latest_on) -%}
    {%- set changes_from = ref('stg_pos__inventory_changes') -%}
    select cast(max(occurred_at) as string)
    from {{ changes_from }}
    where {{ "occurred_on = date '" ~ latest_on ~ "'" if latest_on else 'false' }}
{%- endmacro %}


{# The event clock as a literal, of what latest_at() found. #}
{% macro clock_literal(clock) -%}
    timestamp '{{ clock or "0001-01-01 00:00:00" }}'
{%- endmacro %}


{#
    For look_up(): the latest date of all kept changes. A date and no text: Spark takes a bare maximum from
    the file statistics, and reads the column of all history to make a text of it (150 million lines: 5.6
    of 6.1 s).
#}
{% macro latest_on() -%}
    select max(occurred_on) from {{ ref('stg_pos__inventory_changes') }}
{%- endmacro %}
