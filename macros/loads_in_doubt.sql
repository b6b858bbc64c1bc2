{#
    The loader commits of `messages` of which not every line was kept, as far as that can be told without
    taking the messages apart: somewhere the number of items of a message is not the number of lines that
    silver has kept of it. The books of these are made line by line; those of the others need no look at a
    line. Never too few: a message with a line that was not kept has fewer lines in silver than it has
    items, and one that is no message at all has none.

    messages  window of bronze.pos_messages, from new_rows
#}
{% macro loads_in_doubt(messages) %}
    {% set changes_from = ref('stg_pos__inventory_changes') %}
    {% set messages_from = source('bronze', 'pos_messages') %}
    {% set in_doubt_sql %}
        select distinct received.ingest_id
        from (
            select
                ingest_id,
                ingest_line,
                greatest(coalesce(json_array_length(get_json_object(body, '$.items')), 1), 1)
                    as item_count
            from {{ messages_from }}
            where {{ is_new('ingest_id', messages) }}
        ) as received
        left join (
            select
                _ingest_id,
                _ingest_line,
                sum(line_count) as line_count
            from {{ changes_from }}
            where {{ is_new('_ingest_id', messages) }}
            group by _ingest_id, _ingest_line
        ) as kept
            on received.ingest_id = kept._ingest_id and received.ingest_line = kept._ingest_line
        where not received.item_count <=> kept.line_count
    {% endset %}
    {% set in_doubt = run_query(in_doubt_sql).columns[0].values() | sort
        if execute and not messages.is_empty else [] %}
    {{ return(in_doubt) }}
{% endmacro %}
