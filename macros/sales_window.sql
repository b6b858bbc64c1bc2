{#
    The window that the pace of sales is taken from, as literals:

    clock          the event clock, which is where it ends
    starts_at      so many days before (var sales_window_days); sales strictly after it are in it
    observed_from  since when anything was told at all, but not before starts_at

    changes_from  relation of the changes
#}
{% macro sales_window(changes_from) %}
    {% set window = {
        'clock': '0001-01-01 00:00:00',
        'starts_at': '0001-01-01 00:00:00',
        'observed_from': '0001-01-01 00:00:00',
    } %}
    {% set edges = look_up({
        'first_on': 'select min(occurred_on) from ' ~ changes_from,
        'latest_on': 'select max(occurred_on) from ' ~ changes_from,
    }) %}
    {% if edges.latest_on %}
        {% set window_sql %}
            select
                cast(clock_at as string) as clock,
                cast(clock_at - interval '{{ var("sales_window_days") }}' day as string) as starts_at,
                cast(
                    greatest(
                        clock_at - interval '{{ var("sales_window_days") }}' day, first_at
                    ) as string
                ) as observed_from
            from (
                select
                    max(occurred_at) as clock_at,
                    min(occurred_at) as first_at
                from {{ changes_from }}
                where
                    -- The file statistics answer for a date, not for a time: two dates are read.
                    occurred_on in (date '{{ edges.first_on }}', date '{{ edges.latest_on }}')
            ) as told
        {% endset %}
        {% set told = run_query(window_sql).rows[0] %}
        {% if told[0] %}
            {% do window.update(clock=told[0], starts_at=told[1], observed_from=told[2]) %}
        {% endif %}
    {% endif %}
    {{ return(window) }}
{% endmacro %}
