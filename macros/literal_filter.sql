{#
    A condition on `column` that holds for every value in `values`, made of literals, so that it
    prunes files and partitions. More than sixty values become a range.

    column     name, with its alias
    values     the values, as text; none at all makes a condition that is false
    data_type  date, timestamp or bigint
#}
{% macro literal_filter(column, values, data_type) -%}
    {%- set literals = [] -%}
    {%- for value in values | reject('none') | sort -%}
        {%- do literals.append(
            (value | string) if data_type == 'bigint' else data_type ~ " '" ~ value ~ "'"
        ) -%}
    {%- endfor -%}
    {%- if literals | length == 0 -%}
        false
    {%- elif literals | length > 60 -%}
        {{ column }} between {{ literals | first }} and {{ literals | last }}
    {%- else -%}
        {{ column }} in ({{ literals | join(', ') }})
    {%- endif -%}
{%- endmacro %}
