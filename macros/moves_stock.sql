{# True for a change that moves its store's stock: all but an online BOPIS record, an order. #}
{% macro moves_stock(change_type, channel) -%}
    not ({{ change_type }} = 'bopis' and {{ channel }} <=> 'online')
{%- endmacro %}
