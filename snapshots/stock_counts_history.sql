{% snapshot stock_counts_history %}
-- grain: one row per stock count and version
-- What a count said before it was corrected. A version opens when a build first sees a quantity and
-- closes when a build sees another; both times are those of receipt. Of corrections that arrive between
-- two builds only the last is seen here; bronze has them all.
-- YAML snapshots read all of their relation; this one reads what came in since its own last version.
{{
    config(
        unique_key='count_key',
        strategy='check',
        check_cols=['quantity'],
        updated_at='received_at',
        hard_deletes='ignore',
        liquid_clustered_by=['counted_at'],
        meta={'merge_prune_by': 'counted_at:timestamp'}
    )
}}

{% set cursor = {'after': -1} %}
{% if execute and load_relation(this) is not none %}
    {% do cursor.update(after=run_query(
        'select coalesce(max(_ingest_id), -1) as cursor_value from ' ~ this
    ).rows[0][0] | int) %}
{% endif %}

select
    -- As seconds: a time as text would depend on the session's time zone.
    md5(concat_ws('|', store_id, item_id, unix_timestamp(counted_at))) as count_key,
    store_id,
    item_id,
    counted_at,
    quantity,
    employee_key,
    received_at,
    landed_at,
    _ingest_id,
    _ingest_line,
    _redrive_of_ingest_id
from {{ ref('stg_pos__stock_counts') }}
where _ingest_id > {{ cursor.after }}
{% endsnapshot %}
