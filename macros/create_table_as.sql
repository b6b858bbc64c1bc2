{#
    Fail closed (DESIGN rule 11). The adapters create a table that they take for missing with
    `create or replace table`. dbt-spark takes any error of the catalogue for "no tables", and a new
    Sail session has none, so that would replace history by the newest rows. For a table that holds
    history the first creation is a plain `create table`, which every engine refuses where a Delta
    table already lies. Only --full-refresh replaces, and never a snapshot.
#}
{% macro spark__create_table_as(temporary, relation, compiled_code, language='sql') -%}
    {%- do renew_turn() -%}
    {{ create_and_never_replace(
        dbt.spark__create_table_as(temporary, relation, compiled_code, language)
    ) }}
{%- endmacro %}


{#
    What a merge reads, as a table of this run and not as a view, on the embedded engine, which works
    out the source of a merge several times over (measured: 40,000 rows of stock_count_figures 2.3 s,
    staged 0.3 s and 0.1 s). Parquet and not Delta: it is written once and read by nobody else, and a log
    costs 11 ms to write and 4 ms at each reading. The folder is that of this invocation;
    loaders/warehouse.py removes it. On Spark, where each statement is some twenty jobs, staging (in its
    cache) cost more than it saved: a tick of 30 s took 32.
#}
{% macro stage(relation, compiled_code) -%}
    {%- do renew_turn() -%}
    {%- call statement('stage') -%}
        create table {{ relation }}
        using parquet
        location '{{ lakehouse_state() }}/staging/{{ invocation_id }}/{{ relation.identifier }}'
        as
        {{ compiled_code }}
    {%- endcall -%}
{%- endmacro %}


{# Its name: of this invocation too, so that one taken for dead cannot be read by another. #}
{% macro staged_relation_of(relation) -%}
    {{ return(api.Relation.create(
        identifier=relation.identifier ~ '__' ~ invocation_id | replace('-', ''), type='table'
    )) }}
{%- endmacro %}


{# Whether the engine is Sail, whose host in the profile names no machine. #}
{% macro is_embedded() -%}
    {{ return(target.host == 'embedded') }}
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
