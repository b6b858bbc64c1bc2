{#
    A whole number in the range of `data_type` from its text; NULL for anything else (1.5, 1e3, true).
#}
{% macro whole_number(column, data_type, most_digits=18) -%}
    case
        -- JSON's -0, as Sail spells it.
        when {{ column }} = '-0.0' then cast(0 as {{ data_type }})
        -- The second condition because `$` may also match before a line end.
        when {{ column }} rlike '^-?[0-9]{1,{{ most_digits }}}$' and not {{ column }} rlike '[^-0-9]'
            then try_cast({{ column }} as {{ data_type }})
    end
{%- endmacro %}


{#
    A number of units from its text: at most nine digits, a billion in one line, which no till sells.
    Nine billion such lines of one item have a sum that is a bigint; of eighteen digits, ten would not,
    and a sum that is none wraps around on Sail and stops the build on Spark.
#}
{% macro units(column) -%}
    {{ whole_number(column, 'bigint', 9) }}
{%- endmacro %}


{#
    A UTC time from `yyyy-MM-dd HH:mm:ss`; NULL for anything else. The pattern is checked first:
    engines differ in what they forgive. A cast and not try_to_timestamp, which takes three times as long.
#}
{% macro utc_time(column) -%}
    case
        when
            {{ column }} rlike '^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}$'
            and length({{ column }}) = 19
            and {{ column }} >= '0001'
            then try_cast({{ column }} as timestamp)
    end
{%- endmacro %}


{# True where a time lies further ahead of its receipt than clocks may differ. #}
{% macro is_ahead_of_receipt(column, received_at) -%}
    {{ column }} > {{ received_at }} + interval '{{ var("future_tolerance_hours") }}' hour
{%- endmacro %}
