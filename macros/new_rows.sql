{#
    The ingest numbers that this run reads of an upstream table, as literals: {after, through},
    meaning after < number <= through. Literals, because only they let an engine skip files.

    upstream         relation to read from
    upstream_cursor  its column that holds the loader's commit number
    cursor           the column of `this` that remembers how far it has read
    where            optional condition on `this`, where one table keeps several cursors

    `through` pins the upstream, so that a statement that reads it twice sees the same rows twice.
    Both maxima come from the tables' file statistics, whatever their size.
#}
{% macro new_rows(upstream, upstream_cursor, cursor, where=none) %}
    {% set window = {'after': -1, 'through': -1} %}
    {% if execute %}
        {% if is_incremental() %}
            {% set cursor_sql %}
                select coalesce(max({{ cursor }}), -1) as cursor_value from {{ this }}
                {% if where %} where {{ where }} {% endif %}
            {% endset %}
            {% do window.update(after=run_query(cursor_sql).rows[0][0] | int) %}
        {% endif %}
        {% set through_sql %}
            select coalesce(max({{ upstream_cursor }}), {{ window.after }}) as cursor_value
            from {{ upstream }}
            where {{ upstream_cursor }} > {{ window.after }}
        {% endset %}
        {% do window.update(through=run_query(through_sql).rows[0][0] | int) %}
    {% endif %}
    {{ return(window) }}
{% endmacro %}


{# The condition on an upstream's rows that belongs to `new_rows`. #}
{% macro is_new(column, window) -%}
    {{ column }} > {{ window.after }} and {{ column }} <= {{ window.through }}
{%- endmacro %}
