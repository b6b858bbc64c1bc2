{#
    The MERGE of dbt-spark with two things that it lacks and dbt-databricks has in its own way:

    - `skip_matched_step: true` (a dbt-databricks config) makes it insert-only: the first row of a
      key stands, and the statement needs no second pass over the target;
    - `meta.merge_prune_by: <column>` adds the source's own values of a key column as literals to
      the ON clause, so that only the files that can match are read. The column must be part of the
      key: then no row outside of the predicate could have matched anyway.

    And where the source was staged (see create_table_as.sql), the condition that `unless_overtaken`
    put into the model is asked once more, in the statement that writes.

    dbt-databricks has a macro of its own of this name, and prunes by itself.
#}
{% macro spark__get_merge_sql(target, source, unique_key, dest_columns, incremental_predicates) %}
    {%- set keys = [unique_key] if unique_key is string else unique_key -%}
    {%- set conditions = [] + (incremental_predicates or []) -%}
    {%- set prune_by = config.get('meta', {}).get('merge_prune_by') -%}
    {%- if prune_by -%}
        {%- do conditions.append(merge_pruning(source, prune_by)) -%}
    {%- endif -%}
    {%- for key in keys -%}
        {%- do conditions.append('dbt_source.' ~ key ~ ' = dbt_target.' ~ key) -%}
    {%- endfor %}
    merge into {{ target }} as dbt_target
    using {{ unovertaken(source) }} as dbt_source
    on {{ conditions | join('\n    and ') }}
    {%- if not config.get('skip_matched_step', false) %}
    when matched then update set *
    {%- endif %}
    when not matched then insert *
{% endmacro %}


{% macro merge_pruning(source, prune_by) %}
    {%- set column, data_type = prune_by.split(':') -%}
    {%- set values_sql -%}
        select distinct cast({{ column }} as string) as value from {{ source }}
    {%- endset -%}
    {{ return(literal_filter(
        'dbt_target.' ~ column, run_query(values_sql).columns[0].values(), data_type
    )) }}
{% endmacro %}


{#
    For the end of a model that adds to what it has read of itself: true unless another run has written
    since. Then its rows hold the news already, and nothing may be written.

    relation   the model's own table
    condition  what tells a row that was written since, of `written_since`
#}
{% macro unless_overtaken(relation, condition) -%}
    {%- set written_since = 'select 1 from ' ~ relation ~ ' as written_since where ' ~ condition -%}
    /* unless overtaken */ not exists ({{ written_since }}) /* overtaken */
{%- endmacro %}


{% macro unovertaken(source) -%}
    {%- set guard = modules.re.search(
        '/\\* unless overtaken \\*/(.*?)/\\* overtaken \\*/',
        model['compiled_code'] or '',
        modules.re.DOTALL
    ) if target.host == 'embedded' else none -%}
    {%- if guard -%}
        (select * from {{ source }} where {{ guard[1] }})
    {%- else -%}
        {{ source }}
    {%- endif -%}
{%- endmacro %}
