{#
    Absolute path of the lakehouse folder. Relative paths are the project's, not those of whatever
    process the engine was started from.
#}
{% macro lakehouse_root() -%}
    {%- set root = env_var('POS_LAKEHOUSE', 'lakehouse') -%}
    {%- if root.startswith('/') or '://' in root -%}
        {{ root.rstrip('/') }}
    {%- else -%}
        {{ invocation_args_dict.project_dir }}/{{ root }}
    {%- endif -%}
{%- endmacro %}


{#
    Folder for what is remembered of it, always on a disk. loaders/config.py says the same.
#}
{% macro lakehouse_state() -%}
    {%- set root = lakehouse_root() -%}
    {%- if '://' in root -%}
        {%- set place = root.split('://')[1].rstrip('/') -%}
        {{ env_var('POS_STATE', invocation_args_dict.project_dir ~ '/lakehouse_state/' ~ place) }}
    {%- else -%}
        {{ root }}/_pos
    {%- endif -%}
{%- endmacro %}


{#
    Every table has its place, <lakehouse>/<schema>/<table>, so that any engine and any reader finds
    it. Overrides dbt-spark; dbt-databricks has its own macro of this name and keeps managed tables.
#}
{% macro spark__location_clause() %}
    location '{{ lakehouse_root() }}/{{ model.schema }}/{{ model.alias }}'
{%- endmacro %}
