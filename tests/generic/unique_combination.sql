{#
    Passes when no two rows have the same values in `columns`. Meant for exactly the columns of a
    model's `unique_key`: a merge that goes wrong shows here first. Nulls count as equal.
#}
{% test unique_combination(model, columns) %}

select
    {{ columns | join(',\n    ') }},
    count(*) as row_count
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1

{% endtest %}
