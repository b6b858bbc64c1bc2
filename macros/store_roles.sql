{#
    For look_up(): what the stores are, as one text: `online:0 physical:1`. Whether a BOPIS record is
    an order or a pickup, and where an order is collected that does not say, hangs on it; so a table
    whose sums were made under other roles has to be added up anew. Each row carries the text, see
    `roles_changed`, so it is the hash of a text that is longer than one: of 200 stores it has 2,600
    characters, which a million rows in a join do not fit into memory with.
#}
{% macro store_roles() -%}
    select case when length(in_words) > 64 then sha2(in_words, 256) else in_words end
    from (
        select
            -- It becomes a literal: without what would end one.
            regexp_replace(
                concat_ws(
                    ' ', sort_array(collect_set(concat(channel, ':', cast(store_id as string))))
                ),
                concat('[', char(39), char(92), char(92), ']'),
                ''
            ) as in_words
        from {{ ref('stores') }}
        where channel is not null
    ) as roles
{%- endmacro %}


{#
    Whether the newest rows of `this` were made under other roles of the stores than now.

    roles   what the stores are now, by store_roles()
    cursor  the column of `this` whose highest value marks its newest rows
    newest  that value; none or -1 where there are no rows
#}
{% macro roles_changed(roles, cursor, newest) -%}
    {{ return(
        are_other_roles(roles, look_up({'newest_roles': roles_of_newest(cursor, newest)}).newest_roles)
    ) }}
{%- endmacro %}


{# For look_up(): the roles that the newest rows of `this` were made under; none if it has none. #}
{% macro roles_of_newest(cursor, newest) -%}
    {%- if execute and is_incremental() and newest is not none and newest | int >= 0 -%}
        select concat_ws(',', collect_set(_store_roles)) from {{ this }} where {{ cursor }} = {{ newest }}
    {%- else -%}
        select cast(null as string)
    {%- endif -%}
{%- endmacro %}


{# Whether roles_of_newest() found other roles than those of now. #}
{% macro are_other_roles(roles, newest_roles) -%}
    {{ return(newest_roles is not none and newest_roles != (roles or '')) }}
{%- endmacro %}


{# For look_up(): the id of a change type; as a literal it lets files without it be skipped. #}
{% macro change_type_id(change_type) -%}
    select min(change_type_id)
    from {{ ref('inventory_change_types') }}
    where change_type = '{{ change_type }}'
{%- endmacro %}
