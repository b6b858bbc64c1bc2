-- grain: one row per store, transaction, change type and item, on the date of the event
-- The first received of a key stands; whatever repeats it later is never inserted.
-- Not repaired by an increment: nothing. A new rule for what is rejected needs a re-drive of what
-- is in quarantine, or a full refresh: a commit is judged once, also one of which nothing was kept.
{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key=['store_id', 'trans_id', 'change_type_id', 'item_id', 'occurred_on'],
        skip_matched_step=true,
        liquid_clustered_by=['occurred_on', '_ingest_id'],
        on_schema_change='fail',
        meta={'merge_prune_by': 'occurred_on:date'}
    )
}}

{% set messages = new_rows({'messages': {
    'upstream': source('bronze', 'pos_messages'),
    'upstream_cursor': 'ingest_id',
    'cursor': '_ingest_id',
    'closed_in': {'name': 'int_pos__loads_reconciled', 'where': "source = 'pos_messages'"},
}}).messages %}

{{ nothing_new(messages.is_empty) }}

with

message_lines as (

    select
        ingest_id,
        ingest_line,
        source_file,
        source_line,
        received_at,
        landed_at,
        redrive_of_ingest_id,
        trans_id,
        store_id,
        fulfillment_store_id,
        change_type_id,
        item_id,
        quantity,
        occurred_at,
        occurred_on
    from {{ ref('base_pos__message_lines') }}
    where
        {{ is_new('ingest_id', messages) }}
        and reject_reason is null

),

-- A till may list an item twice in one message: that is one change, not a repetition.
summed_within_message as (

    select
        store_id,
        trans_id,
        change_type_id,
        item_id,
        occurred_at,
        occurred_on,
        ingest_id,
        ingest_line,
        min(source_file) as source_file,
        min(source_line) as source_line,
        min(received_at) as received_at,
        min(landed_at) as landed_at,
        min(redrive_of_ingest_id) as redrive_of_ingest_id,
        min(fulfillment_store_id) as fulfillment_store_id,
        sum(quantity) as quantity,
        count(*) as line_count
    from message_lines
    group by
        store_id, trans_id, change_type_id, item_id, occurred_at, occurred_on,
        ingest_id, ingest_line

),

-- The place of each row, and the first place of its key. Two windows over few partitions, because a
-- window costs by the partition: one for each key is half of a backfill.
ranked_by_receipt as (

    select
        *,
        row_number() over (
            partition by occurred_on
            order by trans_id, item_id, change_type_id, store_id, ingest_id, ingest_line
        ) as place,
        rank() over (
            partition by occurred_on
            order by trans_id, item_id, change_type_id, store_id
        ) as first_place_of_key
    from summed_within_message

),

final as (

    select
        store_id,
        trans_id,
        change_type_id,
        item_id,
        fulfillment_store_id,
        quantity,
        line_count,
        occurred_at,
        received_at,
        landed_at,
        source_file as _source_file,
        source_line as _source_line,
        ingest_id as _ingest_id,
        ingest_line as _ingest_line,
        redrive_of_ingest_id as _redrive_of_ingest_id,
        occurred_on
    from ranked_by_receipt
    where place = first_place_of_key

)

select * from final
