{#
    How far back a run of inventory_ledger has to look, as literals:

    oldest_at       the oldest time at which something new happened: no entry before it can read
                    otherwise. Far in the future where nothing is new, long ago where all is made anew
    counts_through  the newest commit of counts that inventory_current has read

    changes_from  relation of the changes
    changes       window of the changes, from new_rows
    counts_from   relation of the counts' figures
    publications  window of their publications
    positions     relation of what is in stock
    anew          whether all of it is read
#}
{% macro ledger_horizon(changes_from, changes, counts_from, publications, positions, anew) %}
    {% set horizon = {'oldest_at': '0001-01-01 00:00:00', 'counts_through': -1} %}
    {% if execute %}
        {% set counts_sql %}
            select coalesce(max(_counts_ingest_id), -1) as cursor_value from {{ positions }}
        {% endset %}
        {% do horizon.update(counts_through=run_query(counts_sql).rows[0][0] | int) %}
    {% endif %}
    {% if execute and not anew %}
        {% set oldest_sql %}
            select cast(min(happened_at) as string) as oldest_at
            from (
                select occurred_at as happened_at
                from {{ changes_from }}
                where {{ is_new('_ingest_id', changes) }}
                union all
                select counted_at as happened_at
                from {{ counts_from }}
                where {{ is_new('_publication', publications) }}
            ) as news
        {% endset %}
        {% do horizon.update(oldest_at=run_query(oldest_sql).rows[0][0] or '9999-12-31 00:00:00') %}
    {% endif %}
    {{ return(horizon) }}
{% endmacro %}


{#
    What the ledger does before it is made anew because the stores' roles changed: the pickups of a
    store that has turned out to be an online shop were orders, and leave it. A merge only adds.
#}
{% macro forget_orders_of_online_stores() -%}
    {%- if execute and roles_changed(store_roles(), '_changes_ingest_id') -%}
        {%- set online_sql -%}
            select distinct store_id from {{ ref('stores') }} where channel = 'online'
        {%- endset -%}
        {%- set store_ids = run_query(online_sql).columns[0].values() | sort | join(', ') -%}
        delete from {{ this }}
        where change_type = 'bopis' and store_id in ({{ store_ids or 'null' }})
    {%- endif -%}
{%- endmacro %}
