-- grain: one row per source, commit, line of the commit and line of the message that was rejected
-- Nothing that was received is thrown away: what cannot be kept is here, with the reason.
-- Not repaired by an increment: nothing.
{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key=['source', '_ingest_id', '_ingest_line', 'line_number'],
        skip_matched_step=true,
        liquid_clustered_by=['source', '_ingest_id'],
        on_schema_change='fail'
    )
}}

{% set loads = ref('int_pos__loads_reconciled') %}
{% set windows = {} %}
{% for source_name in ['pos_messages', 'pos_count_rows', 'pos_items'] %}
    {% do windows.update({source_name: {
        'upstream': loads,
        'upstream_cursor': '_ingest_id',
        'cursor': '_ingest_id',
        'where': "source = '" ~ source_name ~ "'",
        'upstream_where': "lines_quarantined > 0 and source = '" ~ source_name ~ "'",
    }}) %}
{% endfor %}
{% set booked = new_rows(windows) %}
{% set quarantined_line_type = [
    'array<struct<ingest_line: bigint', 'line_number: int', 'source_file: string', 'source_line: int',
    'reason: string', 'raw: string', 'redrive_of_ingest_id: bigint', 'redrive_of_ingest_line: bigint>>'
] | join(', ') %}

{{ nothing_new(
    booked.pos_messages.is_empty and booked.pos_count_rows.is_empty and booked.pos_items.is_empty
) }}

with

loads_with_rejections as (

    select
        source,
        _ingest_id,
        received_at,
        quarantined_lines
    from {{ loads }}
    where
        lines_quarantined > 0
        and (
            {%- for source_name, window in windows.items() %}
            ({{ window.where }} and {{ is_new('_ingest_id', booked[source_name]) }})
            {{- ' or' if not loop.last }}
            {%- endfor %}
        )

),

exploded as (

    select
        source,
        _ingest_id,
        received_at,
        quarantined_line
    from loads_with_rejections
        lateral view explode(
            from_json(quarantined_lines, '{{ quarantined_line_type }}')
        ) lines as quarantined_line

),

final as (

    select
        quarantined_line.reason as reason,
        quarantined_line.raw as raw,
        quarantined_line.line_number as line_number,
        received_at,
        quarantined_line.source_file as _source_file,
        quarantined_line.source_line as _source_line,
        _ingest_id,
        quarantined_line.ingest_line as _ingest_line,
        quarantined_line.redrive_of_ingest_id as _redrive_of_ingest_id,
        quarantined_line.redrive_of_ingest_line as _redrive_of_ingest_line,
        source
    from exploded

)

select * from final
