{#
    Who counted, as a key that tells two people apart and names nobody. The key of the hash comes
    from the environment; its default is for development, and the run says so (below). On Databricks
    it is a secret that the engine looks up by itself, so that it stands in no statement, no log and no
    query history; where it is missing the statement fails.

    A number that bronze has let go of is there as its hash already, marked `key:` (`pos retain`).
#}
{% macro employee_key(column) -%}
    {%- if target.type == 'databricks' -%}
        {%- set key = "secret('" ~ var('employee_secret_scope') ~ "', '"
            ~ var('employee_secret_name') ~ "')" -%}
    {%- else -%}
        {%- set key = "'" ~ employee_hash_key() ~ "'" -%}
    {%- endif -%}
    case
        when {{ column }} like 'key:%' and length({{ column }}) = 68 then substring({{ column }}, 5)
        else sha2(concat({{ key }}, '|', {{ column }}), 256)
    end
{%- endmacro %}


{#
    The key of the hash. It is put into the statement as a text, so it may not hold what could end
    one: a key with a quote in it would be SQL.
#}
{% macro employee_hash_key() -%}
    {%- set key = env_var('POS_EMPLOYEE_HASH_KEY', '') or 'development' -%}
    {%- set allowed = 'abcdefghijklmnopqrstuvwxyz0123456789+/=_.-' -%}
    {%- if key | lower | list | reject('in', allowed) | list -%}
        {%- do exceptions.raise_compiler_error(
            'POS_EMPLOYEE_HASH_KEY may hold letters, digits and + / = _ . - only; make one with: '
            ~ 'openssl rand -hex 32'
        ) -%}
    {%- endif -%}
    {{- key -}}
{%- endmacro %}


{# What is left of a row that fits no columns: the employee's number may stand anywhere in it. #}
{% macro shape_of(column) -%}
    regexp_replace({{ column }}, '[^,;" ]', '#')
{%- endmacro %}


{#
    At the start of a run that may hash: say that the key is the one that everybody knows. `pos run`
    says so by itself, once and not at each of its builds.
#}
{% macro warn_of_default_hash_key() %}
    {% if
        execute and flags.WHICH in ['build', 'run'] and target.type != 'databricks'
        and not env_var('POS_EMPLOYEE_HASH_KEY', '')
        and env_var('POS_TURN_OWNER', 'by_hand') == 'by_hand'
    %}
        {% do exceptions.warn(
            'POS_EMPLOYEE_HASH_KEY is not set: employees are hashed with a key that everybody knows. '
            ~ 'For real data set one before the first build: openssl rand -hex 32'
        ) %}
    {% endif %}
    {{ return('') }}
{% endmacro %}
