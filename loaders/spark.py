"""Apache Spark in this process: the session that dbt's target `spark` uses, for use before dbt.

One process has one Spark session. Whoever makes it before dbt does (`pos run`, tests) must make the
same one, so its settings are read from the profile and stand nowhere else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from loaders.config import Settings
from loaders.errors import UserError
from loaders.jars import fetch, jars_folder
from loaders.java import java_home_or_advice
from loaders.s3.spark import jars_for

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TARGET = "spark"
# By this pyspark knows a process that talks to a Connect server, as the embedded engine is one.
CONNECT_MODE = "SPARK_CONNECT_MODE_ENABLED"
CLASS_PATHS = ("spark.driver.extraClassPath", "spark.executor.extraClassPath")


def session(settings: Settings, more: Mapping[str, str] | None = None) -> SparkSession:
    """The classic Spark session of the profile's target ``spark``, started if there is none.

    ``more``: settings beyond the profile's, or instead of them.

    Fetches the Delta jars where they are missing. :class:`UserError` without a usable Java.
    """
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    java_home_or_advice()
    fetch(jars_folder(settings.project))
    if "pyspark.sql.connect.session" not in sys.modules:
        os.environ.pop(CONNECT_MODE, None)  # the parent's: this process has talked to none
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")  # or it warns of every other address
    builder = SparkSession.builder
    stated = {**parameters(settings), **(more or {})}
    for name in CLASS_PATHS:
        stated[name] = ":".join([stated[name], *(f"{path}/*" for path in jars_for(settings))])
    for name, value in stated.items():
        builder = builder.config(name, value)
    try:
        return builder.getOrCreate()
    except PySparkException as error:
        raise UserError(
            f"Apache Spark does not start: {error}; a process that talks to the embedded engine "
            f"cannot also run Spark: start another"
        ) from error


def is_in_this_process(session: SparkSession) -> bool:
    """True where the session has no cluster, and its driver does all the work."""
    return str(session.sparkContext.master).startswith("local")


def parameters(settings: Settings) -> dict[str, str]:
    """The profile's Spark settings, with its relative folders made absolute."""
    import yaml
    from jinja2 import Environment

    path = settings.project / "profiles" / "profiles.yml"
    profile = yaml.safe_load(path.read_text())
    stated = profile["pos_lakehouse"]["outputs"][TARGET]["server_side_parameters"]
    templates = Environment()
    templates.globals["env_var"] = {**os.environ, **settings.environment()}.get
    rendered = {name: templates.from_string(str(value)).render() for name, value in stated.items()}
    for name in CLASS_PATHS:
        rendered[name] = str(jars_folder(settings.project) / "*")
    rendered["spark.sql.warehouse.dir"] = str(settings.state / "spark-warehouse")
    return rendered
