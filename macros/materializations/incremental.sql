{#
    The incremental materialization of dbt-spark with two ways out before the work: nothing at all is
    done where the model says that nothing new came in (see `nothing_new`), and where what it selects is
    staged (see create_table_as.sql) nothing is compared and merged if that has no rows. What a statement
    costs before it does anything is most of a tick that brought three thousand lines.

    dbt-databricks has a materialization of its own.
#}
{% materialization incremental, adapter='spark', supported_languages=['sql'] %}
    {%- set existing_relation = load_relation(this) -%}
    {%- if existing_relation is none or should_full_refresh() -%}
        {{ return(dbt.materialization_incremental_spark()) }}
    {%- elif '/* nothing new */' in compiled_code -%}
        {%- call noop_statement('main', 'nothing new', 'SKIP', 0) -%}{%- endcall -%}
        {{ return({'relations': [this]}) }}
    {%- elif not is_embedded() -%}
        {{ return(dbt.materialization_incremental_spark()) }}
    {%- endif -%}

    {%- set staged_relation = staged_relation_of(this) -%}
    {{ run_hooks(pre_hooks) }}
    {%- do stage(staged_relation, compiled_code) -%}
    {%- set values = values_to_prune_by(staged_relation) -%}
    {%- if values -%}
        {%- set columns = columns_in_common(staged_relation, existing_relation) -%}
        {%- set keys = config.get('unique_key') -%}
        {%- set in_reach = reach_of_merge(values) -%}
        {%- call statement('main') -%}
            {%- if config.get('meta', {}).get('merge_by_rewriting') -%}
                {{ rewriting_merge(this, unovertaken(staged_relation), keys, columns) }}
            {%- elif in_reach and not config.get('skip_matched_step', false) -%}
                {{ replacing_merge(this, unovertaken(staged_relation), in_reach, keys, columns) }}
            {%- else -%}
                {{ pruned_merge(this, unovertaken(staged_relation), values, keys) }}
            {%- endif -%}
        {%- endcall -%}
    {%- else -%}
        {%- call noop_statement('main', 'nothing new', 'SKIP', 0) -%}{%- endcall -%}
    {%- endif -%}
    {#- Or the session's list of tables, which each turn is looked up in, would grow by five a tick. -#}
    {%- do adapter.drop_relation(staged_relation) -%}
    {{ run_hooks(post_hooks) }}
    {{ return({'relations': [this]}) }}
{% endmaterialization %}
