{#
    One writing dbt at a time on the embedded engine. Two that merge into one table at once do no
    harm, one of them is refused; but it should wait and not fail. The turn is a view in the session
    that all clients share, and `if not exists` decides who gets it. `pos run` waits in Python
    (loaders/turns.py), since Jinja cannot sleep: here, looking again and again is the waiting.

    A turn older than a minute is taken for that of a run that was killed, so a run that takes longer
    renews its own.
#}
{% macro take_turn() %}
    {% do lock_out_other_writers() %}
    {% if turns_are_taken() %}
        {% set turn = namespace(is_mine=false) %}
        {# Nested, since Jinja cannot leave a loop: ten thousand empty rounds take 0.1 s. #}
        {% for rounds in range(100) if not turn.is_mine %}
        {% for attempt in range(100 if not turn.is_mine else 0) %}
            {% if not turn.is_mine %}
                {% set now = modules.datetime.datetime.now().timestamp() | int %}
                {% do run_query('create view if not exists default.dbt_turn ' ~ own_turn(now)) %}
                {% set found = run_query("show table extended in default like 'dbt_turn'").rows %}
                {% set holder = found[0][3] if found else '' %}
                {% set taken_at = modules.re.search('taken_at=([0-9]+);', holder) %}
                {% if invocation_id in holder %}
                    {% set turn.is_mine = true %}
                    {% if rounds + attempt > 0 %}
                        {% do cache_tables_made_meanwhile() %}
                    {% endif %}
                {# Also where it was taken in the future: the clock has been set back since. #}
                {% elif taken_at and (now - (taken_at.group(1) | int)) | abs > 60 %}
                    {% do run_query('create or replace view default.dbt_turn ' ~ own_turn(now)) %}
                {% endif %}
            {% endif %}
        {% endfor %}
        {% endfor %}
        {% if not turn.is_mine %}
            {% do exceptions.raise_compiler_error(
                'Another dbt has been building in this lakehouse for over a minute; wait for it.'
            ) %}
        {% endif %}
    {% endif %}
    {{ return('') }}
{% endmacro %}


{#
    dbt asked which tables there are before it waited. What the other run has made since is there
    too, or dbt would try to create it.
#}
{% macro cache_tables_made_meanwhile() %}
    {% for schema in ['silver', 'gold'] %}
        {% do run_query('create schema if not exists ' ~ schema) %}
        {% for row in run_query('show tables in ' ~ schema).rows if row[0] == schema %}
            {% do adapter.cache_added(api.Relation.create(
                schema=schema, identifier=row[1], type='table', is_delta=true
            )) %}
        {% endfor %}
    {% endfor %}
{% endmacro %}


{# What the view says of this run. #}
{% macro own_turn(now) -%}
    as select
        '{{ invocation_id }}' as invocation_id,
        '{{ env_var("POS_TURN_OWNER", "by_hand") }}' as turn_owner,
        'taken_at={{ now }};' as taken_at
{%- endmacro %}


{#
    Before what takes long: nobody is to take this run for dead. A tick is over before that, and pays for
    a look at the clock. Whoever has lost its turn all the same stops: another writes now.
#}
{% macro renew_turn() -%}
    {%- if turns_are_taken() -%}
        {%- set now = modules.datetime.datetime.now().timestamp() | int -%}
        {%- set age = now - (run_started_at.timestamp() | int) -%}
        {%- if age | abs >= env_var('POS_TURN_RENEWAL_SECONDS', '20') | int -%}
            {%- set found = run_query("show table extended in default like 'dbt_turn'").rows -%}
            {%- if found and invocation_id not in found[0][3] -%}
                {%- do exceptions.raise_compiler_error(
                    'This run was taken for dead after a minute at one statement, and another dbt is '
                    ~ 'building in this lakehouse. Nothing is damaged; start this one again.'
                ) -%}
            {%- endif -%}
            {%- do run_query('create or replace view default.dbt_turn ' ~ own_turn(now)) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{# After a run: let the next one in. #}
{% macro end_turn() %}
    {% if turns_are_taken() %}
        {% set found = run_query("show table extended in default like 'dbt_turn'").rows %}
        {% if found and invocation_id in found[0][3] %}
            {% do run_query('drop view if exists default.dbt_turn') %}
        {% endif %}
    {% endif %}
    {{ return('') }}
{% endmacro %}


{# Only where sessions are shared, which the profile says by its host, and only where dbt writes. #}
{% macro turns_are_taken() %}
    {{ return(
        execute and target.host == 'embedded' and flags.WHICH in ['build', 'run', 'seed', 'snapshot']
    ) }}
{% endmacro %}
