{#
    What the stores are, as one text: `online:0 physical:1`. Whether a BOPIS record is an order or a
    pickup, and where an order is collected that does not say, hangs on it; so a table whose sums were
    made under other roles has to be added up anew. Each row carries the text, see `roles_changed`.
#}
{% macro store_roles() -%}
    {%- set roles = [] -%}
    {%- if execute -%}
        {%- set roles_sql -%}
            select distinct concat(channel, ':', cast(store_id as string)) as role
            from {{ ref('stores') }}
            where channel is not null
        {%- endset -%}
        {%- for role in run_query(roles_sql).columns[0].values() | sort -%}
            {%- do roles.append(role) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ roles | join(' ') | replace("'", '') }}
{%- endmacro %}


{#
    Whether the newest rows of `this` were made under other roles of the stores than now.

    roles   what store_roles() says now
    cursor  the column of `this` whose highest value marks its newest rows
#}
{% macro roles_changed(roles, cursor) -%}
    {%- set changed = false -%}
    {%- if execute and is_incremental() -%}
        {%- set last = run_query('select max(' ~ cursor ~ ') from ' ~ this).rows[0][0] -%}
        {%- if last is not none -%}
            {%- set newest_sql -%}
                select distinct _store_roles from {{ this }} where {{ cursor }} = {{ last }}
            {%- endset -%}
            {%- set changed = run_query(newest_sql).columns[0].values() | list != [roles] -%}
        {%- endif -%}
    {%- endif -%}
    {{ return(changed) }}
{%- endmacro %}


{# The id of a change type, as a literal, so that files without it are skipped. #}
{% macro change_type_id(change_type) -%}
    {%- set type_sql -%}
        select change_type_id
        from {{ ref('inventory_change_types') }}
        where change_type = '{{ change_type }}'
    {%- endset -%}
    {%- set rows = run_query(type_sql).rows if execute else [] -%}
    {{ rows[0][0] if rows else 0 }}
{%- endmacro %}
