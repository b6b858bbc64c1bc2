{#
    As a literal, the date of the oldest new count that can move a key of `this`: how far back the
    changes of those keys have to be read again. Far in the future when no count moves any key.
#}
{% macro oldest_moving_count(stock_counts, window) -%}
    {%- if not execute or not is_incremental() -%}
        date '0001-01-01'
    {%- else -%}
        {%- set oldest_sql -%}
            select cast(min(to_date(new_counts.counted_at)) as string) as counted_on
            from {{ stock_counts }} as new_counts
            left join {{ this }} as believed
                on
                    new_counts.store_id = believed.store_id
                    and new_counts.item_id = believed.item_id
            where
                {{ is_new('new_counts._ingest_id', window) }}
                and new_counts.counted_at >= coalesce(believed.counted_at, new_counts.counted_at)
        {%- endset -%}
        {%- set counted_on = none if window.through == window.after
            else run_query(oldest_sql).rows[0][0] -%}
        date '{{ counted_on or "9999-12-31" }}'
    {%- endif -%}
{%- endmacro %}
