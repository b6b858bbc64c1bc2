{#
    For look_up(): the time of the oldest order of `this` that a run may change, which is one that a new
    record belongs to, or one whose time can run out. Reads four columns of all orders and no more; what
    the run then reads and writes are the orders since.

    changes_from   relation of the changes
    changes        window of the changes, from new_rows
    bopis_type_id  change type of orders and pickups
#}
{% macro oldest_order_in_reach(changes_from, changes, bopis_type_id) -%}
    {%- if not is_incremental() -%}
        select cast(null as string)
    {%- else -%}
        select cast(min(orders.ordered_at) as string)
        from {{ this }} as orders
        left join (
            select distinct
                trans_id,
                item_id
            from {{ changes_from }}
            where change_type_id = {{ bopis_type_id }} and {{ is_new('_ingest_id', changes) }}
        ) as new_records
            on orders.trans_id = new_records.trans_id and orders.item_id = new_records.item_id
        where
            new_records.trans_id is not null
            or orders.status in ('open', 'partly_collected')
    {%- endif -%}
{%- endmacro %}


{# The orders since, and those that have no time yet, as a condition. #}
{% macro is_order_in_reach(oldest_at) -%}
    (ordered_at >= timestamp '{{ oldest_at or "9999-12-31 00:00:00" }}' or ordered_at is null)
{%- endmacro %}
