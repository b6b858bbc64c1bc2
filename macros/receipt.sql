{# The place in the order of receipt as one number: the loader's commit, then the line in it. #}
{% macro receipt(ingest_id, ingest_line) -%}
    cast({{ ingest_id }} * 4294967296 + {{ ingest_line }} as bigint)
{%- endmacro %}


{#
    As a literal, the oldest time among the counts that a run reads first: how far back the counts that
    they may be corrections of can lie.
#}
{% macro oldest_received_count(window) -%}
    {%- set oldest_at = none -%}
    {%- if execute and window.through > window.after -%}
        {%- set oldest_sql -%}
            select cast(min({{ utc_time('trim(date_time)') }}) as string) as counted_at
            from {{ source('bronze', 'pos_count_rows') }}
            where {{ is_new('ingest_id', window) }}
        {%- endset -%}
        {%- set oldest_at = run_query(oldest_sql).rows[0][0] -%}
    {%- endif -%}
    timestamp '{{ oldest_at or "9999-12-31 00:00:00" }}'
{%- endmacro %}
