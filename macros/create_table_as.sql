{#
    Fail closed (DESIGN rule 11). The adapters create a table that they take for missing with
    `create or replace table`. dbt-spark takes any error of the catalogue for "no tables", and a new
    Sail session has none, so that would replace history by the newest rows. For a table that holds
    history the first creation is a plain `create table`, which every engine refuses where a Delta
    table already lies. Only --full-refresh replaces, and never a snapshot.
#}
{% macro spark__create_table_as(temporary, relation, compiled_code, language='sql') -%}
    {{ create_and_never_replace(
        dbt.spark__create_table_as(temporary, relation, compiled_code, language)
    ) }}
{%- endmacro %}


{# dbt-databricks has a macro of its own here. #}
{% macro databricks__create_table_as(temporary, relation, compiled_code, language='sql') -%}
    {{ create_and_never_replace(
        dbt.databricks__create_table_as(temporary, relation, compiled_code, language)
    ) }}
{%- endmacro %}


{# And another where its flag use_materialization_v2 is set; it does not dispatch this one. #}
{% macro get_create_table_sql(target_relation, columns, compiled_code) -%}
    {{ create_and_never_replace(
        dbt.get_create_table_sql(target_relation, columns, compiled_code)
    ) }}
{%- endmacro %}


{% macro create_and_never_replace(create_sql) -%}
    {%- set holds_history = (
        model.resource_type == 'snapshot'
        or (model.config.materialized == 'incremental' and not should_full_refresh())
    ) -%}
    {%- if holds_history -%}
        {{ create_sql | replace('create or replace table', 'create table', 1) }}
    {%- else -%}
        {{ create_sql }}
    {%- endif -%}
{%- endmacro %}
