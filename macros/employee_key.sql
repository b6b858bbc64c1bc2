{#
    Who counted, as a key that tells two people apart and names nobody. The key of the hash comes
    from the environment; its default is for development, and the run says so. On Databricks it is a
    secret that the engine looks up by itself, so that it stands in no statement, no log and no query
    history; where it is missing the statement fails.
#}
{% macro employee_key(column) -%}
    {%- if target.type == 'databricks' -%}
        {%- set key = "secret('" ~ var('employee_secret_scope') ~ "', '"
            ~ var('employee_secret_name') ~ "')" -%}
    {%- else -%}
        {%- set key = text_literal(env_var('POS_EMPLOYEE_HASH_KEY', 'development')) -%}
    {%- endif -%}
    sha2(concat({{ key }}, '|', {{ column }}), 256)
{%- endmacro %}
