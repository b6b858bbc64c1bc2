{#
    dbt looks for a macro in the whole project, under every adapter name, before it looks into an
    adapter: so a `spark__` macro here hides the `databricks__` macro of dbt-databricks. Those meant
    for dbt-spark alone are handed back here; tests/databricks fails where one is forgotten.
#}
{% macro databricks__get_merge_sql(
    target, source, unique_key, dest_columns, incremental_predicates
) -%}
    {{ return(dbt.databricks__get_merge_sql(
        target, source, unique_key, dest_columns, incremental_predicates
    )) }}
{%- endmacro %}


{% macro databricks__reset_csv_table(model, full_refresh, old_relation, agate_table) -%}
    {{ return(dbt.databricks__reset_csv_table(model, full_refresh, old_relation, agate_table)) }}
{%- endmacro %}


{% macro databricks__load_csv_rows(model, agate_table) -%}
    {{ return(dbt.databricks__load_csv_rows(model, agate_table)) }}
{%- endmacro %}


{% macro databricks__persist_constraints(relation, model) -%}
    {{ return(dbt.databricks__persist_constraints(relation, model)) }}
{%- endmacro %}
