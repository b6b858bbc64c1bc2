{#
    The medal is the schema, as it stands: `+schema: gold` means gold, not silver_gold. Lakehouses
    are kept apart by their folder (POS_LAKEHOUSE), on Databricks by the catalog.
#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
