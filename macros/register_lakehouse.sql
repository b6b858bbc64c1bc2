{#
    Before a run: make the tables that lie in the lakehouse known to a session that does not know
    them. `pos up` does so for the embedded engine; a Spark session of dbt's own starts with an empty
    catalogue every time, and is told here. If bronze is still unknown afterwards nothing is built:
    building on an empty catalogue is how history gets lost.
#}
{% macro register_lakehouse() %}
    {{ return(adapter.dispatch('register_lakehouse')()) }}
{% endmacro %}


{# Unity Catalog remembers its tables. #}
{% macro databricks__register_lakehouse() %}
    {{ return('') }}
{% endmacro %}


{% macro default__register_lakehouse() %}
    {% if not execute or flags.WHICH not in ['build', 'run', 'test', 'seed', 'snapshot'] %}
        {{ return('') }}
    {% endif %}
    {% do run_query('create schema if not exists bronze') %}
    {% if not 'pos_messages' in table_names('bronze') %}
        {% do register_tables_on_disk() %}
        {% if not 'pos_messages' in table_names('bronze') %}
            {% do exceptions.raise_compiler_error(
                'The engine knows no bronze tables, so nothing is built. Start it with `pos up` '
                ~ '(it registers what lies in ' ~ lakehouse_root()
                ~ '), or load first: `pos load --once`.'
            ) %}
        {% endif %}
    {% endif %}
    {{ return('') }}
{% endmacro %}


{% macro table_names(schema) %}
    {{ return(run_query('show tables in ' ~ schema).columns[1].values() | list) }}
{% endmacro %}


{#
    Every Delta table has a file in <table>/_delta_log. Sail lists none this way and leaves it to
    `pos up`.
#}
{% macro register_tables_on_disk() %}
    {% set listing_sql %}
        select distinct regexp_extract(path, '([^/]+/[^/]+)/_delta_log/', 1) as table_path
        from binaryFile.`{{ lakehouse_root() }}/*/*/_delta_log/*.json`
    {% endset %}
    {% for table_path in run_query(listing_sql).columns[0].values() %}
        {% set schema, name = table_path.split('/') %}
        {% if schema in ['bronze', 'silver', 'gold'] %}
            {% do run_query('create schema if not exists ' ~ schema) %}
            {% do run_query(
                'create table if not exists ' ~ schema ~ '.' ~ name
                ~ " using delta location '" ~ lakehouse_root() ~ '/' ~ table_path ~ "'"
            ) %}
            {% do adapter.cache_added(api.Relation.create(
                schema=schema, identifier=name, type='table', is_delta=true
            )) %}
        {% endif %}
    {% endfor %}
{% endmacro %}
