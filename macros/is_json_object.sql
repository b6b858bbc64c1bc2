{#
    True where the text is one whole, well-formed JSON object. Apart from from_json, because the
    engines disagree on what they make of a broken one: Spark returns the fields it could read.
#}
{% macro is_json_object(column) -%}
    (left(ltrim({{ column }}), 1) = '{' and try_parse_json({{ column }}) is not null)
{%- endmacro %}
