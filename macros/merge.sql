{#
    The MERGE of dbt-spark with three things that it lacks and dbt-databricks has in its own way, or does
    without:

    - `skip_matched_step: true` (a dbt-databricks config) makes it insert-only: the first row of a
      key stands, and the statement needs no second pass over the target;
    - `meta.merge_prune_by: <column>:<type>` adds the source's own values of a key column as literals
      to the ON clause, so that only the files that can match are read. The column must be part of the
      key: then no row outside of the predicate could have matched anyway;
    - what a model says by `reads_and_changes_only` is there instead of the values. To know these the model
      is evaluated once more, of a full count's figures 8 of 20 seconds.

    On the embedded engine, where the source is staged (create_table_as.sql), two statements below do the same for less.
    dbt-databricks has a macro of its own of this name, and prunes by itself.
#}
{% macro spark__get_merge_sql(target, source, unique_key, dest_columns, incremental_predicates) %}
    {%- set is_pruned_by_values = config.get('meta', {}).merge_prune_by
        and not what_it_reads_and_changes('dbt_target') -%}
    {%- set values = values_to_prune_by(source) if is_pruned_by_values else [] -%}
    {{ pruned_merge(target, source, values, unique_key, incremental_predicates) }}
{% endmacro %}


{#
    target  relation that is merged into
    source  relation or query that is merged
    values  what `merge_prune_by` is limited to, from values_to_prune_by()
#}
{% macro pruned_merge(target, source, values, unique_key, incremental_predicates=none) %}
    {%- set reads_and_changes = what_it_reads_and_changes('dbt_target') -%}
    {%- set conditions = (incremental_predicates or []) + reads_and_changes -%}
    {%- set prune_by = config.get('meta', {}).get('merge_prune_by') -%}
    {%- if prune_by and not reads_and_changes -%}
        {%- set column, data_type = prune_by.split(':') -%}
        {%- do conditions.append(literal_filter('dbt_target.' ~ column, values, data_type)) -%}
    {%- endif -%}
    {%- for key in ([unique_key] if unique_key is string else unique_key) -%}
        {%- do conditions.append('dbt_source.' ~ key ~ ' = dbt_target.' ~ key) -%}
    {%- endfor %}
    merge into {{ target }} as dbt_target
    using {{ source }} as dbt_source
    on {{ conditions | join('\n    and ') }}
    {%- if not config.get('skip_matched_step', false) %}
    when matched then update set *
    {%- endif %}
    when not matched then insert *
{% endmacro %}


{#
    The values of the column that the model prunes its merge by, or the smallest of that which it prunes
    by since when (none, if there is none); else any value. An empty list if there is nothing
    to merge.
#}
{% macro values_to_prune_by(source) %}
    {%- set meta = config.get('meta', {}) -%}
    {%- if meta.merge_prune_by -%}
        {%- set column = meta.merge_prune_by.split(':')[0] -%}
        {%- set values_sql -%}
            select distinct cast({{ column }} as string) as value from {{ source }}
        {%- endset -%}
    {%- elif meta.merge_prune_since -%}
        {%- set column = meta.merge_prune_since.split(':')[0] -%}
        {%- set values_sql -%}
            select cast(min({{ column }}) as string) as value from {{ source }} having count(*) > 0
        {%- endset -%}
    {%- else -%}
        {%- set values_sql -%}
            select 'any' as value from {{ source }} limit 1
        {%- endset -%}
    {%- endif -%}
    {{ return(run_query(values_sql).columns[0].values() | list) }}
{% endmacro %}


{#
    The same in one commit without a MERGE, for a table of which every merge rewrites all files anyway
    (`meta.merge_by_rewriting`): the source's rows, and the target's that it has no row for. The
    embedded engine's MERGE takes ever longer with each column (200,000 rows: 20 columns 0.8 s, 24 2.5 s,
    28 13 s), this 0.6 s.
#}
{% macro rewriting_merge(target, source, unique_key, names) %}
    insert overwrite table {{ target }}
    select {{ names | join(', ') }}
    from {{ source }} as dbt_source
    union all
    select dbt_target.{{ names | join(', dbt_target.') }}
    from {{ target }} as dbt_target
    left anti join {{ source }} as dbt_source
        on
            {%- for key in ([unique_key] if unique_key is string else unique_key) %}
            dbt_source.{{ key }} = dbt_target.{{ key }}{{ ' and' if not loop.last }}
            {%- endfor %}
    {{ in_few_files() }}
{% endmacro %}


{#
    A merge in one commit without a MERGE, for a table that is pruned: the rows in reach are replaced by
    the source's rows and those of them that the source has no row for. The engine rewrites the files
    that hold a row in reach and no other. The embedded engine's MERGE joins more than it must: 100,000
    rows of a new count into stock_count_figures took 2.1 s, of which none was there before; this takes
    0.1 s.

    in_reach  condition on the target's rows, true of each that the source has a row for
    names     the columns
#}
{% macro replacing_merge(target, source, in_reach, unique_key, names) %}
    insert into table {{ target }}
    replace where {{ in_reach }}
    select {{ names | join(', ') }}
    from {{ source }} as dbt_source
    union all
    select dbt_target.{{ names | join(', dbt_target.') }}
    from (select * from {{ target }} where {{ in_reach }}) as dbt_target
    left anti join {{ source }} as dbt_source
        on
            {%- for key in ([unique_key] if unique_key is string else unique_key) %}
            dbt_source.{{ key }} = dbt_target.{{ key }}{{ ' and' if not loop.last }}
            {%- endfor %}
    {{ in_few_files() }}
{% endmacro %}


{#
    For the end of what the two statements above write. The embedded engine writes a file for each
    strand of its plan, four or more for such a union, and each statement after it pays 6 microseconds
    for each file that was replaced of late (loaders/maintenance.py). A limit that no table reaches
    brings the strands together: one or two files. REPARTITION and COALESCE do not, and DISTRIBUTE BY
    is not known. 200,000 rows: 0.20 s instead of 0.18 s.
#}
{% macro in_few_files() -%}
    limit {{ 2 ** 53 }}
{%- endmacro %}


{#
    The condition for replacing_merge(), true or false of each row; none where the model says nothing to
    prune by:

    - `meta.merge_prune_by: <column>:<type>`, see above: a row that has one of the source's values;
    - `meta.merge_prune_since: <column>:<type>`, a column that no merge makes larger: a row that is no
      smaller than the smallest of the source's, or has no value yet.

    values  from values_to_prune_by()
#}
{% macro reach_of_merge(values) %}
    {%- set meta = config.get('meta', {}) -%}
    {%- if meta.merge_prune_by -%}
        {%- set column, data_type = meta.merge_prune_by.split(':') -%}
        {#- Never null: what a condition says nothing of, the embedded engine drops with the file. -#}
        {{ return(
            '(' ~ literal_filter(column, values, data_type) ~ ' and ' ~ column ~ ' is not null)'
        ) }}
    {%- elif meta.merge_prune_since -%}
        {%- set column, data_type = meta.merge_prune_since.split(':') -%}
        {%- set since = column ~ ' >= ' ~ data_type ~ " '" ~ values[0] ~ "' or " -%}
        {{ return((since if values[0] else '') ~ column ~ ' is null') }}
    {%- endif -%}
{% endmacro %}


{#
    For the condition by which a model limits what it reads of `this` to the rows that the run may change: a
    MERGE then looks for its rows among these only. Of 3 million orders Spark took seven seconds to find
    800, and three so. A row that the model merges must not be in `this` without the condition being true of it.

    condition  on columns of `this`, of which `meta.merge_prune_since` or `meta.merge_prune_by` names the
               only one
#}
{% macro reads_and_changes_only(condition) -%}
    /* changes only */ {{ condition }} /* these */
{%- endmacro %}


{# What it says, with the column of the table that is called `alias`: a list of one, or of none. #}
{% macro what_it_reads_and_changes(alias) -%}
    {%- set meta = config.get('meta', {}) -%}
    {%- set prune_by = meta.get('merge_prune_since') or meta.get('merge_prune_by') -%}
    {%- set conditions = [] -%}
    {%- if prune_by -%}
        {%- set column = prune_by.split(':')[0] -%}
        {%- for condition in marked_in_model('changes only', 'these') -%}
            {%- do conditions.append(
                modules.re.sub('\\b' ~ column ~ '\\b', alias ~ '.' ~ column, condition.strip())
            ) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(conditions) }}
{%- endmacro %}


{#
    For the end of a model that reckons from what a table held when its cursor was read: true unless
    another run has written to the table since. Then nothing may be written; the next run goes on.

    relation   the table: the model's own, if it adds to that
    condition  what tells a row that was written since, of `written_since`
#}
{% macro unless_overtaken(relation, condition) -%}
    {%- set written_since = 'select 1 from ' ~ relation ~ ' as written_since where ' ~ condition -%}
    /* unless overtaken */ not exists ({{ written_since }}) /* overtaken */
{%- endmacro %}


{% macro unovertaken(source) -%}
    {%- set guards = marked_in_model('unless overtaken', 'overtaken') -%}
    {%- if guards -%}
        (select * from {{ source }} where {{ guards | join(' and ') }})
    {%- else -%}
        {{ source }}
    {%- endif -%}
{%- endmacro %}


{# What stands between two marks in the model as it was compiled, with what its look-ups found. #}
{% macro marked_in_model(begin, end) -%}
    {{ return(modules.re.findall(
        '/\\* ' ~ begin ~ ' \\*/(.*?)/\\* ' ~ end ~ ' \\*/',
        model['compiled_code'] or '',
        modules.re.DOTALL
    )) }}
{%- endmacro %}


{#
    The names of the columns, where both relations have the same ones with the same types; otherwise
    what `on_schema_change` says is done. One statement that is not even run, for the two descriptions
    that dbt compares.
#}
{% macro columns_in_common(staged_relation, existing_relation) %}
    {%- set both_sql -%}
        select staged.*, existing.*
        from {{ staged_relation }} as staged cross join {{ existing_relation }} as existing
    {%- endset -%}
    {%- set columns = adapter.get_column_schema_from_query(both_sql) -%}
    {%- set half = columns | length // 2 -%}
    {%- set names = columns[half:] | map(attribute='column') | list -%}
    {%- set kinds = {} -%}
    {%- for column in columns[half:] -%}
        {%- do kinds.update({column.column: column.data_type}) -%}
    {%- endfor -%}
    {%- set same = namespace(kinds=columns | length == half * 2) -%}
    {%- for column in columns[:half] if kinds.get(column.column) != column.data_type -%}
        {%- set same.kinds = false -%}
    {%- endfor -%}
    {%- if not same.kinds -%}
        {%- do process_schema_changes(
            config.get('on_schema_change'), staged_relation, existing_relation
        ) -%}
    {%- endif -%}
    {{ return(names) }}
{% endmacro %}
