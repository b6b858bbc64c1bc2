{#
    How far back a run of inventory_ledger has to look, as literals:

    oldest_at       the oldest time at which something new happened: no entry before it can read
                    otherwise. Far in the future where nothing is new, long ago where all is made anew
    counts_through  the newest commit of counts that inventory_current has read

    Stops the run where what it reckons from does not belong together, see below.

    changes       window of the changes, from new_rows
    publications  window of the counts' publications
    roles         what store_roles() says
    anew          whether all of it is read
#}
{% macro ledger_horizon(changes, publications, roles, anew) %}
    {% set horizon = {'oldest_at': '0001-01-01 00:00:00', 'counts_through': -1} %}
    {% set figures_from = ref('stock_count_figures') %}  {# here, so that dbt's parser sees it #}
    {% if execute %}
        {% set counts_sql %}
            select coalesce(max(_counts_ingest_id), -1) as cursor_value
            from {{ ref('inventory_current') }}
        {% endset %}
        {% do horizon.update(counts_through=run_query(counts_sql).rows[0][0] | int) %}
        {% do stop_where_out_of_step(figures_from, changes, publications, roles, anew) %}
    {% endif %}
    {% if execute and not anew %}
        {% set oldest_sql %}
            select cast(min(happened_at) as string) as oldest_at
            from (
                select occurred_at as happened_at
                from {{ ref('stg_pos__inventory_changes') }}
                where {{ is_new('_ingest_id', changes) }}
                union all
                select counted_at as happened_at
                from {{ ref('stock_count_variances') }}
                where {{ is_new('_publication', publications) }}
            ) as news
        {% endset %}
        {% do horizon.update(oldest_at=run_query(oldest_sql).rows[0][0] or '9999-12-31 00:00:00') %}
    {% endif %}
    {{ return(horizon) }}
{% endmacro %}


{#
    The ledger reckons from what is on hand (inventory_current) and from the books of counts
    (stock_count_variances), so both must have read the same. They have after every run that builds both,
    as all of the project's own do. Where somebody has built one of them alone, the balances made of it
    would be wrong and would stay; so this stops, and says what to do. It looks at what is new only.
#}
{% macro stop_where_out_of_step(figures_from, changes, publications, roles, anew) %}
    {% set figures_sql %}
        select
            coalesce(max(_changes_ingest_id), -1) as changes_through,
            coalesce(max(_counts_ingest_id), -1) as counts_through,
            cast(coalesce(max(counted_at), timestamp '0001-01-01 00:00:00') as string)
                as latest_count_at
        from {{ figures_from }}
        where publication <= {{ publications.through }}
    {% endset %}
    {% set figures = run_query(figures_sql).rows[0] %}
    {% set unread_sql %}
        select cast(min(occurred_at) as string) as oldest_at
        from {{ ref('stg_pos__inventory_changes') }}
        where {{ is_new_to_the_figures(figures, changes) }}
    {% endset %}
    {% set oldest_unread_at = run_query(unread_sql).rows[0][0] or '9999-12-31 00:00:00' %}
    {% set out_of_step_sql %}
        with

        counts_ahead as (

            select count(*) as key_count
            from {{ ref('inventory_current') }}
            where _counts_ingest_id > {{ figures[1] }}

        ),

        counts_behind as (

            select count(*) as key_count
            from {{ ref('stock_count_variances') }} as variances
            left join {{ ref('inventory_current') }} as positions
                on
                    variances.store_id = positions.store_id
                    and variances.item_id = positions.item_id
            where
                variances._publication > {{ -1 if anew else publications.after }}
                and (
                    positions.counted_at is null
                    or variances.counted_at > positions.counted_at
                    or (
                        variances.counted_at = positions.counted_at
                        and variances.counted_quantity <> positions.counted_quantity
                    )
                )

        ),

        -- Late changes that the books do not know yet; those that add up to nothing alter no book.
        late_changes as (

            select
                late_changes.store_id,
                late_changes.item_id,
                late_changes.quantity,
                min(variances.counted_at) as counted_at
            from {{ ref('stg_pos__inventory_changes') }} as late_changes
            inner join {{ ref('inventory_change_types') }} as change_types
                on late_changes.change_type_id = change_types.change_type_id
            left join {{ ref('stores') }} as stores
                on late_changes.store_id = stores.store_id
            inner join {{ ref('stock_count_variances') }} as variances
                on
                    late_changes.store_id = variances.store_id
                    and late_changes.item_id = variances.item_id
                    and late_changes.occurred_at <= variances.counted_at
            where
                {{ is_new_to_the_figures(figures, changes, 'late_changes.') }}
                and variances.counted_at >= timestamp '{{ oldest_unread_at }}'
                and {{ moves_stock('change_types.change_type', 'stores.channel') }}
            group by
                late_changes.store_id,
                late_changes.item_id,
                late_changes.quantity,
                late_changes._ingest_id,
                late_changes._ingest_line

        ),

        books_behind as (

            select count(*) as key_count
            from (
                select
                    store_id,
                    item_id
                from late_changes
                group by store_id, item_id, counted_at
                having sum(quantity) <> 0
            ) as moved_books

        )
        {%- if anew %},

        roles_behind as (

            select count(*) as key_count
            from {{ figures_from }}
            where publication = {{ publications.through }} and _store_roles <> '{{ roles }}'

        ),

        channels_behind as (

            select count(*) as key_count
            from {{ ref('inventory_current') }} as positions
            left join {{ ref('stores') }} as stores
                on positions.store_id = stores.store_id
            where not positions.channel <=> stores.channel

        )
        {%- endif %}

        select
            counts_ahead.key_count + counts_behind.key_count + books_behind.key_count
            {{- ' + roles_behind.key_count + channels_behind.key_count' if anew }} as failures
        from counts_ahead
        cross join counts_behind
        cross join books_behind
        {{ 'cross join roles_behind cross join channels_behind' if anew }}
    {% endset %}
    {% if flags.WHICH in ['build', 'run'] and run_query(out_of_step_sql).rows[0][0] | int > 0 %}
        {% do exceptions.raise_compiler_error(
            'inventory_current and stock_count_variances have not read the same, so that no balance '
            ~ 'can be reckoned from them. Build them together: dbt build --select +inventory_ledger'
        ) %}
    {% endif %}
{% endmacro %}


{#
    Changes no later than the latest count that inventory_current has read, and the figures of counts
    perhaps not.
#}
{% macro is_new_to_the_figures(figures, changes, prefix='') -%}
    {{ prefix }}_ingest_id > {{ figures[0] }}
    and {{ prefix }}_ingest_id <= {{ changes.through }}
    and {{ prefix }}occurred_on <= date '{{ figures[2][:10] }}'
    and {{ prefix }}occurred_at <= timestamp '{{ figures[2] }}'
{%- endmacro %}


{#
    What the ledger does before it is made anew because the stores' roles changed: the pickups of a
    store that has turned out to be an online shop were orders, and leave it. A merge only adds.
#}
{% macro forget_orders_of_online_stores() -%}
    {%- set facts = look_up({
        'roles': store_roles(),
        'newest': highest(this, '_changes_ingest_id') if is_incremental() else 'select -1',
    }) -%}
    {%- if execute and roles_changed(facts.roles, '_changes_ingest_id', facts.newest) -%}
        {%- set online_sql -%}
            select distinct store_id from {{ ref('stores') }} where channel = 'online'
        {%- endset -%}
        {%- set store_ids = run_query(online_sql).columns[0].values() | sort | join(', ') -%}
        delete from {{ this }}
        where change_type = 'bopis' and store_id in ({{ store_ids or 'null' }})
    {%- endif -%}
{%- endmacro %}
