{#
    The loader commits whose lines do not add up (DESIGN rule 7), counted four times over: by the
    books, straight from bronze, from the changes that stand, and from the quarantine.

    commits  how many of the latest commits of each bronze table to look at; all of them if none

    The commits are chosen as literals, so that only their files are read. What bronze has received
    since the books were last written is not looked at: it is the next build's.
#}
{% macro lines_not_accounted_for(commits=none) -%}
{%- set windows = {} -%}
{%- set books = ref('int_pos__loads_reconciled') -%}
{%- set queries = {} -%}
{%- for source_name in ['pos_messages', 'pos_count_rows', 'pos_items'] -%}
    {%- do queries.update(
        {source_name: highest(books, '_ingest_id', "source = '" ~ source_name ~ "'")}
    ) -%}
{%- endfor -%}
{%- set found = look_up(queries) -%}
{%- for source_name in queries -%}
    {%- set through = -1 if found[source_name] is none else found[source_name] | int -%}
    {%- set after = -1 if commits is none else [through - (commits | int), -1] | max -%}
    {%- do windows.update({source_name: {'after': after, 'through': through}}) -%}
{%- endfor -%}

with

quarantine as (

    select
        source,
        _ingest_id,
        _ingest_line,
        line_number
    from {{ ref('stg_pos__quarantine') }}
    where {{ is_of_these_commits(windows) }}

),

-- Otherwise than the models do it: by the length of the array, without taking the items apart.
messages as (

    select
        ingest_id,
        ingest_line,
        coalesce(json_array_length(get_json_object(body, '$.items')), 1) as item_count
    from {{ source('bronze', 'pos_messages') }}
    where {{ is_new('ingest_id', windows.pos_messages) }}

),

-- A message that is in quarantine as a whole is one line, whatever its items look like.
received as (

    select
        'pos_messages' as source,
        messages.ingest_id as _ingest_id,
        sum(
            case
                when quarantine._ingest_line is not null then 1
                else greatest(messages.item_count, 1)
            end
        ) as bronze_lines
    from messages
    left join quarantine
        on
            messages.ingest_id = quarantine._ingest_id
            and messages.ingest_line = quarantine._ingest_line
            and quarantine.source = 'pos_messages'
            and quarantine.line_number = 0
    group by messages.ingest_id

    {% for source_name in ['pos_count_rows', 'pos_items'] -%}
    union all

    select
        '{{ source_name }}' as source,
        ingest_id as _ingest_id,
        count(*) as bronze_lines
    from {{ source('bronze', source_name) }}
    where {{ is_new('ingest_id', windows[source_name]) }}
    group by ingest_id

    {% endfor -%}
),

books as (

    select
        source,
        _ingest_id,
        lines_received,
        lines_kept,
        lines_duplicate,
        lines_quarantined
    from {{ ref('int_pos__loads_reconciled') }}
    where {{ is_of_these_commits(windows) }}

),

standing_changes as (

    select
        'pos_messages' as source,
        _ingest_id,
        sum(line_count) as standing_lines
    from {{ ref('stg_pos__inventory_changes') }}
    where {{ is_new('_ingest_id', windows.pos_messages) }}
    group by _ingest_id

),

quarantined as (

    select
        source,
        _ingest_id,
        count(*) as quarantine_rows
    from quarantine
    group by source, _ingest_id

),

compared as (

    select
        coalesce(received.source, books.source) as source,
        coalesce(received._ingest_id, books._ingest_id) as _ingest_id,
        received.bronze_lines,
        books.lines_received,
        books.lines_kept,
        books.lines_duplicate,
        books.lines_quarantined
    from received
    full outer join books
        on received.source = books.source and received._ingest_id = books._ingest_id

)

select
    compared.*,
    standing_changes.standing_lines,
    quarantined.quarantine_rows
from compared
left join standing_changes
    on
        compared.source = standing_changes.source
        and compared._ingest_id = standing_changes._ingest_id
left join quarantined
    on compared.source = quarantined.source and compared._ingest_id = quarantined._ingest_id
where
    not compared.bronze_lines <=> compared.lines_received
    or compared.lines_received
    <> compared.lines_kept + compared.lines_duplicate + compared.lines_quarantined
    or compared.lines_quarantined <> coalesce(quarantined.quarantine_rows, 0)
    or (
        compared.source = 'pos_messages'
        and compared.lines_kept <> coalesce(standing_changes.standing_lines, 0)
    )
{%- endmacro %}


{# True for the rows of the commits that `lines_not_accounted_for` looks at. #}
{% macro is_of_these_commits(windows) -%}
    (
        {%- for source_name, window in windows.items() %}
        (source = '{{ source_name }}' and {{ is_new('_ingest_id', window) }}){{ ' or' if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}
