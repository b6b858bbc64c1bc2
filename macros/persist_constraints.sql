{#
    The constraints of a contract, which dbt-spark adds by ALTER TABLE. The embedded engine has no such
    statement; there the tests of the key alone hold that it is whole. (It does refuse rows that break
    the constraints of a table that Spark has made.)
#}
{% macro spark__persist_constraints(relation, model) -%}
    {%- if not is_embedded() -%}
        {{ dbt.spark__persist_constraints(relation, model) }}
    {%- endif -%}
{%- endmacro %}
