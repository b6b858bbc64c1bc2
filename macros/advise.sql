{#
    After a run: what to do about a table that the engine's catalogue has forgotten. The engine has
    refused to create it over its history, in words that do not say how to go on.
#}
{% macro advise_on_forgotten_tables(results) %}
    {% set refusals = ['already exists at path', 'NON_EMPTY_LOCATION', 'ALREADY_EXISTS'] %}
    {% for result in results if result.status == 'error' %}
        {% set message = result.message or '' %}
        {% if refusals | select('in', message) | list %}
            {{ log(
                result.node.name ~ ' lies in the lakehouse, but the engine had forgotten it. Nothing '
                ~ 'was overwritten. Register it with `pos up`, then build again.', info=true
            ) }}
        {% endif %}
    {% endfor %}
{% endmacro %}
