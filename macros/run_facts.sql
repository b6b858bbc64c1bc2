{# Whether `--full-refresh` was asked for, also in a model that keeps what it has. #}
{% macro is_full_refresh() -%}
    {{ return(execute and (flags.FULL_REFRESH or false)) }}
{%- endmacro %}


{# When this run of dbt started, UTC, as a literal: one time for all that it publishes. #}
{% macro run_start() -%}
    timestamp '{{ run_started_at.strftime("%Y-%m-%d %H:%M:%S") if execute else "1970-01-01 00:00:00" }}'
{%- endmacro %}
