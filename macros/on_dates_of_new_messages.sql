{#
    A condition that keeps a look-up in silver to the event dates of the messages of `window`, so
    that it reads those partitions only. Dates are taken from the raw text: cheap, and wide enough,
    because a line whose date does not parse has no key to look up.
#}
{% macro on_dates_of_new_messages(column, window) -%}
    {%- if not execute or window.after < 0 -%}
        true
    {%- else -%}
        {%- set dates_sql -%}
            select distinct
                cast(try_cast(left(get_json_object(body, '$.date_time'), 10) as date) as string)
                    as event_date
            from {{ source('bronze', 'pos_messages') }}
            where
                {{ is_new('ingest_id', window) }}
                and get_json_object(body, '$.date_time') rlike '^[0-9]{4}-[01][0-9]-[0-3][0-9] '
        {%- endset -%}
        {{ literal_filter(column, run_query(dates_sql).columns[0].values(), 'date') }}
    {%- endif -%}
{%- endmacro %}
