{#
    The ingest numbers that this run reads of its upstream tables, as literals: for each name a window
    {after, through, is_empty}, meaning after < number <= through. Literals, because only they let an
    engine skip files.

    windows  by name what to read of which table:
             upstream         relation to read from
             upstream_cursor  its column that holds the loader's commit number
             cursor           the column of `this` that remembers how far it has read
             where            optional condition on `this`, where one table keeps several cursors
             upstream_where   optional condition on `upstream`
             closed_in        optional name and condition of a table that has closed commits for good,
                              though `this` may have kept no row of them; read by its name, because it
                              is built from `this`. Without it, a commit of which nothing was kept is
                              read again, and by the rules of that day
    facts    by name whatever else the model has to know first, as for look_up()

    `through` pins the upstream, so that a statement that reads it twice sees the same rows twice. As few
    statements as the engine is quick with ask for all of it (look_up()): what they cost before they do
    anything is most of what a look-up costs. Between two of them another run may write: `through` is
    never less than `after`, and who reckons from `this` guards itself by unless_overtaken(). All maxima
    come from the tables' file statistics, whatever their size.
#}
{% macro new_rows(windows, facts={}) %}
    {% set queries = dict(facts) %}
    {% for name, window in windows.items() if execute %}
        {% if is_incremental() %}
            {% do queries.update({name ~ '_after': highest(this, window.cursor, window.where)}) %}
            {% set closed = window.closed_in and adapter.get_relation(
                this.database, this.schema, window.closed_in.name
            ) %}
            {% if closed %}
                {% do queries.update({
                    name ~ '_closed': highest(closed, window.cursor, window.closed_in.where)
                }) %}
            {% endif %}
        {% endif %}
        {% do queries.update({name ~ '_through': highest(
            window.upstream, window.upstream_cursor, window.upstream_where
        )}) %}
    {% endfor %}
    {% set found = look_up(queries) if execute else {} %}
    {% for name in facts if not execute %}
        {% do found.update({name: none}) %}
    {% endfor %}
    {% for name in windows %}
        {% set after = [found.get(name ~ '_after'), found.get(name ~ '_closed'), -1]
            | reject('none') | map('int') | max if execute else -1 %}
        {% set through = [found.get(name ~ '_through'), after] | reject('none') | map('int') | max
            if execute else -1 %}
        {% do found.update({
            name: {'after': after, 'through': through, 'is_empty': through == after}
        }) %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}


{#
    Several values by one statement; on Apache Spark several maxima of a table are one of their own.

    queries  by name, each a query of one value: one column, at most one row

    A dictionary of the values by name; none where there is no row, and for all of them while dbt only
    parses.
#}
{% macro look_up(queries) %}
    {% set found = {} %}
    {% for name in queries %}
        {% do found.update({name: none}) %}
    {% endfor %}
    {% if execute and queries %}
        {% set one_by_one = dict(queries) %}
        {% for maxima in maxima_of_the_same_table(queries) %}
            {% set row = run_query(maxima.sql).rows[0] %}
            {% for name in maxima.names %}
                {% do found.update({name: row[loop.index0]}) %}
                {% do one_by_one.pop(name) %}
            {% endfor %}
        {% endfor %}
        {% if one_by_one %}
            {% set look_up_sql %}
                select
                    {%- for name, query in one_by_one.items() %}
                    ({{ query }}) as {{ name }}{{ ',' if not loop.last }}
                    {%- endfor %}
            {% endset %}
            {% set row = run_query(look_up_sql).rows[0] %}
            {% for name in one_by_one %}
                {% do found.update({name: row[loop.index0]}) %}
            {% endfor %}
        {% endif %}
    {% endif %}
    {{ return(found) }}
{% endmacro %}


{#
    For Apache Spark, of `queries` for look_up() those that ask one table for several maxima: a list of
    {names, sql}, each one statement. Spark makes a job of its own of each query in a statement, though it
    takes the maximum from the file statistics, 0.2 s each, and none for a second maximum. The other
    engines pay by the statement: an empty list.
#}
{% macro maxima_of_the_same_table(queries) %}
    {% set groups = {} %}
    {% for name, query in queries.items() if target.type == 'spark' and not is_embedded() %}
        {% set asked = modules.re.match(
            '\\s*select max\\((\\w+)\\)\\s+from (\\S+)(?:\\s+where (.+))?\\s*$', query, modules.re.DOTALL
        ) %}
        {% if asked %}
            {% set cursor, relation, where = asked.groups() %}
            {# Apart, because a condition makes it read rows. #}
            {% do groups.setdefault((relation, where is none), []).append((name, cursor, where)) %}
        {% endif %}
    {% endfor %}
    {% set maxima = [] %}
    {% for (relation, is_of_all), asked in groups.items() if asked | length > 1 %}
        {% set maxima_sql %}
            select
                {%- for name, cursor, where in asked %}
                max({{ cursor if is_of_all else 'case when ' ~ where ~ ' then ' ~ cursor ~ ' end' }})
                    as {{ name }}{{ ',' if not loop.last }}
                {%- endfor %}
            from {{ relation }}
            {%- if not is_of_all %}
            where {% for name, cursor, where in asked %}({{ where }}){{ ' or ' if not loop.last }}{% endfor %}
            {%- endif %}
        {% endset %}
        {% do maxima.append({'names': asked | map(attribute=0) | list, 'sql': maxima_sql}) %}
    {% endfor %}
    {{ return(maxima) }}
{% endmacro %}


{# The query of how far a table has read: the largest number in its `cursor`. #}
{% macro highest(relation, cursor, where=none) -%}
    select max({{ cursor }}) from {{ relation }}{{ ' where ' ~ where if where }}
{%- endmacro %}


{#
    The condition on an upstream's rows that belongs to `new_rows`. Where nothing is new it is the literal
    `false`, so that an engine leaves out all that follows from it.
#}
{% macro is_new(column, window) -%}
    {%- if window.is_empty -%}
        false
    {%- else -%}
        {{ column }} > {{ window.after }} and {{ column }} <= {{ window.through }}
    {%- endif -%}
{%- endmacro %}


{#
    For the top of an incremental model: where `condition` holds there is nothing that it could add, and
    the run leaves its table as it is without asking the engine.
#}
{% macro nothing_new(condition) -%}
    {{ '/* nothing new */' if execute and is_incremental() and condition }}
{%- endmacro %}
