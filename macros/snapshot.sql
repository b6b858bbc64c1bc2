{#
    The two statements of a snapshot with what `merge_prune_by` is to a merge (see merge.sql): the
    snapshot's `meta.merge_prune_by: <column>:<type>` names a column that is part of what its unique
    key is made of, and the history is read only where that column has one of the new rows' values.
    Without new rows nothing of it is read. dbt reads all open versions each time, and all of the
    history once more in the merge.
#}
{% macro spark__snapshot_staging_table(strategy, source_sql, target_relation) -%}
    {%- set history -%}
        (select * from {{ target_relation }} where {{ snapshot_pruning('') }}) as history
    {%- endset -%}
    {{ dbt.default__snapshot_staging_table(strategy, source_sql, history) }}
{%- endmacro %}


{% macro spark__snapshot_merge_sql(target, source, insert_cols) -%}
    {%- if is_embedded() and config.get('meta', {}).get('merge_prune_by') -%}
        {{ replacing_snapshot_merge(target, source) }}
    {%- else -%}
        {{ dbt.spark__snapshot_merge_sql(target, source, insert_cols) | replace(
            'on DBT_INTERNAL_SOURCE.',
            'on ' ~ snapshot_pruning('DBT_INTERNAL_DEST.') ~ ' and DBT_INTERNAL_SOURCE.',
            1
        ) }}
    {%- endif -%}
{%- endmacro %}


{#
    What that MERGE leaves in the table, in one commit without it, as replacing_merge() in merge.sql: the
    new versions, and the old ones, those closed that a newer one was staged for. 100,000 rows of a new
    count took 2.5 s by the MERGE and take 0.1 s.
#}
{% macro replacing_snapshot_merge(target, source) -%}
    {%- set names = adapter.get_column_schema_from_query('select * from ' ~ target)
        | map(attribute='column') | list -%}
    {%- set valid_to = (config.get('snapshot_table_column_names') or {}).get(
        'dbt_valid_to', 'dbt_valid_to'
    ) -%}
    {%- set in_reach = reach_of_merge(values_to_prune_by(source)) -%}
    {%- set history -%}
        (select * from {{ target }} where {{ in_reach }}) as history
    {%- endset -%}
    insert into table {{ target }}
    replace where {{ in_reach }}
    select {{ names | join(', ') }}
    from {{ source }} as staged
    left anti join {{ history }}
        on staged.dbt_scd_id = history.dbt_scd_id
    where staged.dbt_change_type = 'insert'
    union all
    select
        {%- for name in names %}
        {% if name == valid_to -%}
            coalesce(history.{{ name }}, closed.{{ name }}) as {{ name }}
        {%- else -%}
            history.{{ name }}
        {%- endif -%}
        {{ ',' if not loop.last }}
        {%- endfor %}
    from {{ history }}
    left join {{ source }} as closed
        on
            history.dbt_scd_id = closed.dbt_scd_id
            and closed.dbt_change_type in ('update', 'delete')
{%- endmacro %}


{% macro snapshot_pruning(prefix) -%}
    {%- set prune_by = config.get('meta', {}).get('merge_prune_by') -%}
    {%- if not prune_by -%}
        true
    {%- else -%}
        {%- set column, data_type = prune_by.split(':') -%}
        {%- set values_sql -%}
            select distinct cast({{ column }} as string) as value
            from ({{ model['compiled_code'] }}) as new_rows
        {%- endset -%}
        {{ literal_filter(prefix ~ column, run_query(values_sql).columns[0].values(), data_type) }}
    {%- endif -%}
{%- endmacro %}


{# dbt-databricks has macros of its own of both names; see databricks_own.sql. #}
{% macro databricks__snapshot_staging_table(strategy, source_sql, target_relation) -%}
    {{ return(dbt.databricks__snapshot_staging_table(strategy, source_sql, target_relation)) }}
{%- endmacro %}


{% macro databricks__snapshot_merge_sql(target, source, insert_cols) -%}
    {{ return(dbt.databricks__snapshot_merge_sql(target, source, insert_cols)) }}
{%- endmacro %}


{#
    What the snapshot's merge reads, staged on the embedded engine as for a model (create_table_as.sql).
    Not dispatched by dbt-spark; dbt-databricks has one of its own under another name.
#}
{% macro spark_build_snapshot_staging_table(strategy, sql, target_relation) %}
    {%- if not is_embedded() -%}
        {{ return(dbt.spark_build_snapshot_staging_table(strategy, sql, target_relation)) }}
    {%- endif -%}
    {%- set staged_relation = staged_relation_of(target_relation) -%}
    {%- set select_sql = snapshot_staging_table(strategy, sql, target_relation) -%}
    {%- do stage(staged_relation, select_sql) -%}
    {{ return(staged_relation) }}
{% endmacro %}
