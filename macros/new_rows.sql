{#
    The ingest numbers that this run reads of an upstream table, as literals: {after, through},
    meaning after < number <= through. Literals, because only they let an engine skip files.

    upstream         relation to read from
    upstream_cursor  its column that holds the loader's commit number
    cursor           the column of `this` that remembers how far it has read
    where            optional condition on `this`, where one table keeps several cursors
    closed_in        optional name and condition of a table that has closed commits for good, though
                     `this` may have kept no row of them; read by its name, because it is built from
                     `this`. Without it, a commit of which nothing was kept is read again, and by the
                     rules of that day

    `through` pins the upstream, so that a statement that reads it twice sees the same rows twice.
    Both maxima come from the tables' file statistics, whatever their size.
#}
{% macro new_rows(upstream, upstream_cursor, cursor, where=none, closed_in=none) %}
    {% set window = {'after': -1, 'through': -1} %}
    {% if execute %}
        {% if is_incremental() %}
            {% do window.update(after=last_commit(this, cursor, where)) %}
            {% set closed = closed_in and adapter.get_relation(
                this.database, this.schema, closed_in.name
            ) %}
            {% if closed %}
                {% do window.update(
                    after=[window.after, last_commit(closed, cursor, closed_in.where)] | max
                ) %}
            {% endif %}
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


{# How far a table has read: the largest number in its `cursor`, -1 where it has no rows. #}
{% macro last_commit(relation, cursor, where=none) %}
    {% if not execute %}
        {{ return(-1) }}
    {% endif %}
    {% set cursor_sql %}
        select coalesce(max({{ cursor }}), -1) as cursor_value from {{ relation }}
        {% if where %} where {{ where }} {% endif %}
    {% endset %}
    {{ return(run_query(cursor_sql).rows[0][0] | int) }}
{% endmacro %}


{# The condition on an upstream's rows that belongs to `new_rows`. #}
{% macro is_new(column, window) -%}
    {{ column }} > {{ window.after }} and {{ column }} <= {{ window.through }}
{%- endmacro %}
