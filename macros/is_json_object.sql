{#
    True where the text is one whole, well-formed JSON object. Apart from from_json, because the
    engines disagree on what they make of a broken one: Spark returns the fields it could read.
#}
{% macro is_json_object(column) -%}
    (
        left(ltrim({{ column }}), 1) = '{'
        -- In brackets, because a parser may stop where the object ends, whatever follows it.
        and try_parse_json(concat('[', {{ column }}, ']')) is not null
        and json_array_length(concat('[', {{ column }}, ']')) = 1
    )
{%- endmacro %}
