{#
    A seed's table is replaced in one commit. dbt-spark drops it, creates it and inserts: but a
    dropped table leaves its files at its location, and the rows would be there twice.
#}
{% macro spark__reset_csv_table(model, full_refresh, old_relation, agate_table) %}
    {{ return('') }}
{% endmacro %}


{% macro spark__load_csv_rows(model, agate_table) %}
    {%- set column_types = model.config.get('column_types', {}) -%}
    {%- set literals = [] -%}
    {% set load_sql %}
        insert overwrite table {{ this }}
        {%- for row in agate_table.rows %}
        {{ 'union all' if not loop.first }}
        select
            {%- for name in agate_table.column_names %}
            {%- set inferred_type = adapter.convert_type(agate_table, loop.index0) %}
            {%- set data_type = column_types.get(name, inferred_type) %}
            cast({{ text_literal(row[name]) }} as {{ data_type }}) as {{ name }}
            {{- ',' if not loop.last }}
            {%- endfor %}
        {%- endfor %}
    {% endset %}
    {% do run_query(load_sql) %}
    {{ return(load_sql) }}
{% endmacro %}


{% macro text_literal(value) -%}
    {%- if value is none -%}
        null
    {%- else -%}
        '{{ value | string | replace('\\', '\\\\') | replace("'", "\\'") }}'
    {%- endif -%}
{%- endmacro %}
