-- grain: one row per message line as received, which is an item of a message, or the whole message
-- where no items can be read from it
-- Not a table: the models that read it inline it, so that their cursor prunes the files of bronze.
{{ config(materialized='ephemeral') }}

{% set message_fields = [
    'trans_id string', 'store_id string', 'fulfillment_store_id string', 'date_time string',
    'change_type_id string', 'items array<string>'
] | join(', ') %}

with

messages as (

    select
        ingest_id,
        ingest_line,
        source_file,
        source_line,
        received_at,
        landed_at,
        redrive_of_ingest_id,
        redrive_of_ingest_line,
        body
    from {{ source('bronze', 'pos_messages') }}

),

change_types as (

    select change_type_id
    from {{ ref('inventory_change_types') }}

),

checked as (

    select
        *,
        {{ is_json_object('body') }} as is_json
    from messages

),

parsed as (

    select
        *,
        case when is_json then from_json(body, '{{ message_fields }}') end as message
    from checked

),

-- What a message says of all its items, typed before there is a line for each of them.
typed_messages as (

    select
        *,
        -- Any text, or a whole number as its text; from_json makes text of true, [] and {} as well.
        case
            when
                message.trans_id rlike '\\S'
                and not body rlike '"trans_id"\\s*:\\s*(true|false|\\{|\\[|-?[0-9]+[.eE])'
                then message.trans_id
        end as trans_id,
        -- Of a message without items. A body that went with each item would make 32 GB of a
        -- message of 256 KB, which may have 128,000 of them.
        case when coalesce(size(message.items), 0) < 1 then body end as body_without_items,
        {{ whole_number('message.store_id', 'int') }} as store_id,
        {{ whole_number('message.fulfillment_store_id', 'int') }} as fulfillment_store_id,
        {{ whole_number('message.change_type_id', 'int') }} as change_type_id,
        {{ utc_time('message.date_time') }} as occurred_at
    from parsed

),

-- An item is parsed by itself, so that a bad one does not take its neighbours with it.
exploded as (

    select
        typed_messages.ingest_id,
        typed_messages.ingest_line,
        typed_messages.source_file,
        typed_messages.source_line,
        typed_messages.received_at,
        typed_messages.landed_at,
        typed_messages.redrive_of_ingest_id,
        typed_messages.redrive_of_ingest_line,
        typed_messages.is_json,
        typed_messages.body_without_items,
        typed_messages.trans_id,
        typed_messages.store_id,
        typed_messages.fulfillment_store_id,
        typed_messages.change_type_id,
        typed_messages.occurred_at,
        items.item_position,
        items.item_body,
        from_json(items.item_body, 'item_id string, quantity string') as item
    from typed_messages
        lateral view outer posexplode(message.items) items as item_position, item_body

),

typed as (

    select
        ingest_id,
        ingest_line,
        source_file,
        source_line,
        received_at,
        landed_at,
        redrive_of_ingest_id,
        redrive_of_ingest_line,
        is_json,
        coalesce(item_position + 1, 0) as line_number,
        case when item_position is null then body_without_items else coalesce(item_body, 'null') end
            as raw,
        item_position is not null as is_item,
        trans_id,
        store_id,
        fulfillment_store_id,
        change_type_id,
        {{ whole_number('item.item_id', 'bigint') }} as item_id,
        {{ units('item.quantity') }} as quantity,
        occurred_at
    from exploded

),

-- The first reason that applies, from the whole message down to the quantity of one item.
judged as (

    select
        typed.*,
        case
            when not typed.is_json then 'unparsable_message'
            when typed.trans_id is null then 'missing_or_mistyped_trans_id'
            when typed.store_id is null then 'missing_or_mistyped_store_id'
            when typed.occurred_at is null then 'missing_or_mistyped_date_time'
            when change_types.change_type_id is null then 'unknown_change_type'
            when {{ is_ahead_of_receipt('typed.occurred_at', 'typed.received_at') }}
                then 'date_time_in_the_future'
            when not typed.is_item then 'missing_or_mistyped_items'
            when typed.item_id is null then 'missing_or_mistyped_item_id'
            when typed.quantity is null then 'missing_or_mistyped_quantity'
        end as reject_reason
    from typed
    left join change_types
        on typed.change_type_id = change_types.change_type_id

),

final as (

    select
        ingest_id,
        ingest_line,
        line_number,
        source_file,
        source_line,
        received_at,
        landed_at,
        redrive_of_ingest_id,
        redrive_of_ingest_line,
        raw,
        reject_reason,
        trans_id,
        store_id,
        fulfillment_store_id,
        change_type_id,
        item_id,
        quantity,
        occurred_at,
        to_date(occurred_at) as occurred_on
    from judged

)

select * from final
