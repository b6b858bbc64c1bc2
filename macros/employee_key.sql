{#
    Who counted, as a key that tells two people apart and names nobody. The key of the hash comes
    from the environment; its default is for development, and the run says so.
#}
{% macro employee_key(column) -%}
    sha2(concat('{{ env_var("POS_EMPLOYEE_HASH_KEY", "development") }}', '|', {{ column }}), 256)
{%- endmacro %}
