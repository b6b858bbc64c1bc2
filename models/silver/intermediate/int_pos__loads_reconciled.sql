-- grain: one row per source and loader commit
-- The books of the intake: every line received is kept, a repetition of one kept, or quarantined.
-- Not repaired by an increment: nothing. It follows the silver tables, which never lose a row.
{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key=['source', '_ingest_id'],
        skip_matched_step=true,
        liquid_clustered_by=['source', '_ingest_id'],
        on_schema_change='fail'
    )
}}

{% set windows = {} %}
{% for source_name in ['pos_messages', 'pos_count_rows', 'pos_items'] %}
    {% do windows.update({source_name: {
        'upstream': source('bronze', source_name),
        'upstream_cursor': 'ingest_id',
        'cursor': '_ingest_id',
        'where': "source = '" ~ source_name ~ "'",
    }}) %}
{% endfor %}
{% set news = new_rows(
    windows,
    facts={'changes_through': highest(ref('stg_pos__inventory_changes'), '_ingest_id')}
) %}
{% set messages = news.pos_messages %}
{% set count_rows = news.pos_count_rows %}
{% set item_rows = news.pos_items %}
{% set changes_through = -1 if news.changes_through is none else news.changes_through %}
{% set in_doubt = loads_in_doubt(messages) %}

{{ nothing_new(messages.is_empty and count_rows.is_empty and item_rows.is_empty) }}

with

-- Line by line only where not every line was kept.
message_lines as (

    select *
    from {{ ref('base_pos__message_lines') }}
    where {{ 'ingest_id in (' ~ in_doubt | join(', ') ~ ')' if in_doubt else 'false' }}

),

-- What stands for a key, on the dates of the new lines only.
kept_changes as (

    select
        store_id,
        trans_id,
        change_type_id,
        item_id,
        occurred_on,
        occurred_at,
        quantity,
        fulfillment_store_id,
        _ingest_id,
        _ingest_line
    from {{ ref('stg_pos__inventory_changes') }}
    where {{ on_dates_of_new_messages('occurred_on', messages) if in_doubt else 'false' }}

),

summed_within_message as (

    select
        *,
        sum(quantity) over (
            partition by
                ingest_id, ingest_line, store_id, trans_id, change_type_id, item_id, reject_reason
        ) as message_quantity
    from message_lines

),

compared_to_kept as (

    select
        summed_within_message.ingest_id,
        summed_within_message.ingest_line,
        summed_within_message.line_number,
        summed_within_message.source_file,
        summed_within_message.source_line,
        summed_within_message.received_at,
        summed_within_message.redrive_of_ingest_id,
        summed_within_message.redrive_of_ingest_line,
        summed_within_message.raw,
        case
            when summed_within_message.reject_reason is not null
                then summed_within_message.reject_reason
            when
                kept_changes._ingest_id = summed_within_message.ingest_id
                and kept_changes._ingest_line = summed_within_message.ingest_line
                then 'kept'
            when
                kept_changes.quantity = summed_within_message.message_quantity
                and kept_changes.occurred_at = summed_within_message.occurred_at
                and kept_changes.fulfillment_store_id
                <=> summed_within_message.fulfillment_store_id
                then 'duplicate'
            when kept_changes.quantity is not null then 'conflicting_duplicate'
            else 'lost'
        end as disposition
    from summed_within_message
    left join kept_changes
        on
            summed_within_message.store_id = kept_changes.store_id
            and summed_within_message.trans_id = kept_changes.trans_id
            and summed_within_message.change_type_id = kept_changes.change_type_id
            and summed_within_message.item_id = kept_changes.item_id
            and summed_within_message.occurred_on = kept_changes.occurred_on

),

-- Rows of counts and items have no repetitions: the last received stands, the others are history.
received_rows as (

    select
        'pos_count_rows' as source,
        ingest_id,
        ingest_line,
        source_file,
        source_line,
        received_at,
        redrive_of_ingest_id,
        redrive_of_ingest_line,
        raw,
        coalesce(reject_reason, 'kept') as disposition
    from {{ ref('base_pos__count_rows') }}
    where {{ is_new('ingest_id', count_rows) }}

    union all

    select
        'pos_items' as source,
        ingest_id,
        ingest_line,
        source_file,
        source_line,
        received_at,
        redrive_of_ingest_id,
        redrive_of_ingest_line,
        raw,
        coalesce(reject_reason, 'kept') as disposition
    from {{ ref('base_pos__item_rows') }}
    where {{ is_new('ingest_id', item_rows) }}

),

all_lines as (

    select
        'pos_messages' as source,
        ingest_id,
        ingest_line,
        line_number,
        source_file,
        source_line,
        received_at,
        redrive_of_ingest_id,
        redrive_of_ingest_line,
        raw,
        disposition
    from compared_to_kept

    union all

    select
        source,
        ingest_id,
        ingest_line,
        0 as line_number,
        source_file,
        source_line,
        received_at,
        redrive_of_ingest_id,
        redrive_of_ingest_line,
        raw,
        disposition
    from received_rows

),

loads_in_doubt as (

    select
        ingest_id as _ingest_id,
        min(received_at) as received_at,
        count(*) as lines_received,
        sum(case when disposition = 'kept' then 1 else 0 end) as lines_kept,
        sum(case when disposition = 'duplicate' then 1 else 0 end) as lines_duplicate,
        sum(
            case when disposition not in ('kept', 'duplicate', 'lost') then 1 else 0 end
        ) as lines_quarantined,
        sum(case when disposition = 'lost' then 1 else 0 end) as lines_lost,
        -- Carried here so that the quarantine finds them without reading the lines once more. As
        -- text: a table with an array in it cannot be registered in a new session of Sail. Each
        -- line is made text before they are collected: of 500,000 a list of structs took 1.1 GB,
        -- this takes 0.7.
        concat(
            '[',
            concat_ws(
                ',',
                sort_array(collect_list(
                    case
                        when disposition not in ('kept', 'duplicate', 'lost')
                            then to_json(named_struct(
                                'ingest_line', ingest_line,
                                'line_number', line_number,
                                'source_file', source_file,
                                'source_line', source_line,
                                'reason', disposition,
                                'raw', raw,
                                'redrive_of_ingest_id', redrive_of_ingest_id,
                                'redrive_of_ingest_line', redrive_of_ingest_line
                            ))
                    end
                ))
            ),
            ']'
        ) as quarantined_lines,
        source
    from all_lines
    group by source, ingest_id

),

loads_kept_in_full as (

    select
        inventory_changes._ingest_id,
        min(inventory_changes.received_at) as received_at,
        sum(inventory_changes.line_count) as lines_received,
        sum(inventory_changes.line_count) as lines_kept,
        cast(0 as bigint) as lines_duplicate,
        cast(0 as bigint) as lines_quarantined,
        cast(0 as bigint) as lines_lost,
        '[]' as quarantined_lines,
        'pos_messages' as source
    from {{ ref('stg_pos__inventory_changes') }} as inventory_changes
    where
        {{ is_new('inventory_changes._ingest_id', messages) }}
        and {{ 'inventory_changes._ingest_id not in (' ~ in_doubt | join(', ') ~ ')'
            if in_doubt else 'true' }}
    group by inventory_changes._ingest_id

),

loads as (

    select * from loads_in_doubt

    union all

    select * from loads_kept_in_full

),

-- Loads that came in while this build was running, after the changes had been read.
compared_to_changes as (

    select
        *,
        min(
            case when lines_lost > 0 and _ingest_id > {{ changes_through }} then _ingest_id end
        ) over (partition by source) as first_unread_ingest_id
    from loads

),

-- They are the next build's; a load once booked is never looked at again.
final as (

    select
        _ingest_id,
        received_at,
        lines_received,
        lines_kept,
        lines_duplicate,
        lines_quarantined,
        quarantined_lines,
        source
    from compared_to_changes
    where first_unread_ingest_id is null or _ingest_id < first_unread_ingest_id

)

select * from final
