{#
    True where the text is one whole, well-formed JSON object. Apart from from_json, because the
    engines disagree on what they make of a broken one: Spark returns the fields it could read.

    A parser is asked only where the text is not a plain message, spelt as the tills spell it (names in
    their order, no escapes): that is well-formed by a regular expression, at a tenth of the cost.
#}
{% macro is_json_object(column) -%}
    case
        -- Not the long ones: a repeated group is a recursion to Spark. And `$` matches before a line end.
        when
            length({{ column }}) < 8000
            and right({{ column }}, 1) = '}'
            and {{ column }} rlike '{{ plain_message() }}'
            then true
        else
            left(ltrim({{ column }}), 1) = '{'
            -- In brackets, because a parser may stop where the object ends, whatever follows it.
            and try_parse_json(concat('[', {{ column }}, ']')) is not null
            and json_array_length(concat('[', {{ column }}, ']')) = 1
    end
{%- endmacro %}


{# Texts are of printable ASCII without brackets and backslashes, which would have to be escaped. #}
{% macro plain_message() -%}
    {%- set number = '-?(0|[1-9][0-9]{0,17})' -%}
    {%- set text = '"[ !#-Z^-~]*"' -%}
    {%- set item = '[{]"item_id": ?' ~ number ~ ', ?"quantity": ?' ~ number ~ '[}]' -%}
    ^[{]"trans_id": ?{{ text }}, ?"store_id": ?{{ number }}, ?"date_time": ?{{ text }}, ?
    {{- '"change_type_id": ?' ~ number ~ ', ?' -}}
    "items": ?\\[({{ item }}(, ?{{ item }})*)?\\](, ?"fulfillment_store_id": ?{{ number }})?[}]$
{%- endmacro %}
