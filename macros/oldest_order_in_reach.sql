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
        -- Two looks, for most of it is comparing the text of each order's transaction.
        select cast(min(ordered_at) as string)
        from (
            select orders.ordered_at
            from {{ changes_from }} as new_records
            inner join {{ this }} as orders
                on
                    new_records.trans_id = orders.trans_id
                    and new_records.item_id = orders.item_id
            where
                new_records.change_type_id = {{ bopis_type_id }}
                and {{ is_new('new_records._ingest_id', changes) }}
            union all
            select ordered_at
            from {{ this }}
            where status in ('open', 'partly_collected')
        ) as orders_in_reach
    {%- endif -%}
{%- endmacro %}


{# The orders since, and those that have no time yet, as a condition. #}
{% macro is_order_in_reach(oldest_at) -%}
    (ordered_at >= timestamp '{{ oldest_at or "9999-12-31 00:00:00" }}' or ordered_at is null)
{%- endmacro %}
