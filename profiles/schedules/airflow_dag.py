"""The project in Airflow, on the machine that has it at /opt/pos; apart from our own environment.

Airflow has an environment of its own and only calls the commands of the project's.
"""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

PLACES = {"POS_LANDING": "/var/lib/pos/landing", "POS_LAKEHOUSE": "/var/lib/pos/lakehouse"}
# Of a run that is late only the last is made up for: a build takes in all that has landed.
COMMON = {"start_date": datetime(2026, 1, 1), "catchup": False, "max_active_runs": 1}
RETRIES = {"retries": 2, "retry_delay": timedelta(minutes=1)}

with DAG("pos_build", schedule="*/5 * * * *", default_args=RETRIES, **COMMON):
    BashOperator(
        task_id="load_and_build",
        bash_command=".venv/bin/pos run --once",
        cwd="/opt/pos",
        env=PLACES,
        append_env=True,
    )

with DAG("pos_full_tests", schedule="42 * * * *", **COMMON):
    BashOperator(
        task_id="full_tests",
        bash_command=".venv/bin/dbt test --select tag:full",
        cwd="/opt/pos",
        env=PLACES,
        append_env=True,
    )
