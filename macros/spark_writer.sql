{#
    One Apache Spark at a time writes in a lakehouse. Delta puts a commit there by looking whether its
    number is free and then, on a disk, renaming, in an object store, putting: so of two JVMs one can put
    its commit over the other's. The lock is a file that the kernel holds for the JVM and frees at its death: opening a
    RocksDB, whose jar Spark brings for its own state, takes such a lock, and SQL can call it. It is kept
    until the JVM ends. loaders/writers.py takes the same one.

    On a cluster the statement runs in one of this run's executors, which then holds the lock for as long as
    it lives: the run's length, unless its worker dies. A schedule's own process holds it there instead.
#}
{% macro lock_out_other_writers() %}
    {% if not writes_by_spark() %}
        {{ return('') }}
    {% endif %}
    {% set folder = lakehouse_state() ~ '/spark_writer' %}
    {% set property = 'pos.writes.in.' ~ lakehouse_root() %}
    {% set held = asked_of_the_jvm('java.lang.System', 'getProperty', [property]) %}
    {% set lock = namespace(is_mine=held) %}
    {# A JVM whose dbt was killed ends some moments later. #}
    {% for attempt in range(10) if not lock.is_mine %}
        {% if not lock.is_mine %}
            {% set lock.is_mine = asked_of_the_jvm('org.rocksdb.RocksDB', 'open', [folder]) %}
            {% if lock.is_mine %}
                {% do asked_of_the_jvm('java.lang.System', 'setProperty', [property, 'yes']) %}
            {% else %}
                {% do run_query("select java_method('java.lang.Thread', 'sleep', 1000L)") %}
            {% endif %}
        {% endif %}
    {% endfor %}
    {% if not lock.is_mine %}
        {% do exceptions.raise_compiler_error(
            'Another process is writing in the lakehouse ' ~ lakehouse_root() ~ ' (pos run, pos maintain, '
            ~ 'a dbt build or the embedded engine), and beside Apache Spark only one may; wait for it or '
            ~ 'stop it, the engine with: pos down (lock: ' ~ folder ~ ').'
        ) %}
    {% endif %}
    {{ return('') }}
{% endmacro %}


{# What a static method of Java returns as text; none where it refuses or returns nothing. #}
{% macro asked_of_the_jvm(class, method, texts) %}
    {% set arguments = [class, method] + texts %}
    {% set row = run_query("select try_reflect('" ~ arguments | join("', '") ~ "')").rows[0] %}
    {{ return(row[0] if row[0] not in ['null', ''] else none) }}
{% endmacro %}


{# Only where dbt has a Spark of its own, and only where it writes. #}
{% macro writes_by_spark() %}
    {{ return(
        execute and target.type == 'spark' and target.host == 'none'
        and (
            env_var('POS_SPARK_MASTER', 'local').startswith('local')
            or env_var('POS_TURN_OWNER', 'by_hand') == 'by_hand'
        )
        and flags.WHICH in ['build', 'run', 'seed', 'snapshot']
    ) }}
{% endmacro %}
