"""The docs and lineage site: dbt's own as one file, and beside it the lineage of each column.

``python -m loaders.docs`` writes ``target/docs`` and serves it on loopback until Ctrl-C; with
``--no-serve`` it only writes it. Nothing in it asks another host for anything.

dbt's site has no lineage of columns. dbt-colibri works it out from the manifest and the catalogue;
it knows Databricks and not Spark, whose SQL is the same here, and wants names in three parts. So it
is shown the project as Databricks would have it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import tempfile
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click

from loaders.config import Settings, settings_from
from loaders.errors import UserError
from loaders.web import server_of

FOLDER = Path("target/docs")
INDEX = "index.html"
COLUMNS = "columns.html"
DEFAULT_PORT = 8580
CATALOGUE = "lakehouse"  # the first part of a table's name, for a tool that wants three


def build_site(settings: Settings, target: Path, folder: Path) -> list[str]:
    """Write the site into ``folder``, dbt's artifacts into ``target``; what fell short, in words.

    The engine has to be up. :class:`UserError` where dbt does not get through.
    """
    from dbt.cli.main import dbtRunner

    os.environ.update(settings.environment())
    options = ["--project-dir", str(settings.project), "--target", settings.target]
    options += ["--profiles-dir", str(settings.project / "profiles")]
    options += ["--target-path", str(target), "--log-path", str(target / "logs"), "--quiet"]
    done = dbtRunner().invoke(["docs", "generate", "--static", *options])
    if not done.success:
        raise UserError(f"dbt docs generate failed: {done.exception or 'the lines above say why'}")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(target / "static_index.html", folder / INDEX)
    manifest = json.loads((target / "manifest.json").read_text())
    catalogue = json.loads((target / "catalog.json").read_text())
    said = [
        f"no table of it yet, so no types in the docs: {name}"
        for name in _without_table(manifest, catalogue)
    ]
    return said + column_lineage(manifest, catalogue, folder / COLUMNS)


def column_lineage(manifest: dict[str, Any], catalogue: dict[str, Any], page: Path) -> list[str]:
    """Write a page with the lineage of each column; the columns it could not follow, in words."""
    from dbt_colibri.lineage_extractor.extractor import DbtColumnLineageExtractor
    from dbt_colibri.report.generator import DbtColibriReportGenerator

    log = logging.getLogger("colibri")
    problems = _Problems()
    log.addHandler(problems)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            files = [Path(scratch) / "manifest.json", Path(scratch) / "catalog.json"]
            for file, artifact in zip(files, as_databricks(manifest, catalogue), strict=True):
                file.write_text(json.dumps(artifact))
            extractor = DbtColumnLineageExtractor(*map(str, files))
            report = DbtColibriReportGenerator(extractor, disable_telemetry=True)
            report.generate_report(output_dir=scratch)
            shutil.copy(Path(scratch) / "index.html", page)
            shutil.copy(Path(scratch) / "colibri-manifest.json", page.with_suffix(".json"))
    finally:
        log.removeHandler(problems)
    return problems.said


def as_databricks(
    manifest: dict[str, Any], catalogue: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """dbt's artifacts of a Spark project as those of one on Databricks: names in three parts."""
    manifest, catalogue = json.loads(json.dumps([manifest, catalogue]))
    manifest["metadata"]["adapter_type"] = "databricks"
    nodes = [*manifest["nodes"].values(), *manifest["sources"].values()]
    names = {node["relation_name"] for node in nodes if node.get("relation_name")}
    name = re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, sorted(names)))})(?!\w)")
    for node in nodes:
        node["database"] = CATALOGUE
        if node.get("relation_name"):
            node["relation_name"] = f"{CATALOGUE}.{node['relation_name']}"
        if node.get("compiled_code"):
            node["compiled_code"] = name.sub(
                lambda found: f"{CATALOGUE}.{found[0]}", node["compiled_code"]
            )
    for table in [*catalogue["nodes"].values(), *catalogue["sources"].values()]:
        table["metadata"]["database"] = CATALOGUE
    return manifest, catalogue


def site_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of ``folder`` on loopback, not yet serving; :class:`UserError` if it cannot be."""
    return server_of(folder, port, f"choose another: make docs DOCS_PORT={port + 1}")


class _Problems(logging.Handler):
    """Keeps what a logger says from warnings on."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def _without_table(manifest: dict[str, Any], catalogue: dict[str, Any]) -> list[str]:
    return sorted(
        f"{node['schema']}.{node['alias']}"
        for node_id, node in manifest["nodes"].items()
        if node["resource_type"] in ("model", "seed", "snapshot")
        and node["config"]["materialized"] != "ephemeral"
        and node_id not in catalogue["nodes"]
    )


@click.command()
@click.option("--serve/--no-serve", default=True, help="Serve it until Ctrl-C, or only write it.")
@click.option("--docs-port", default=DEFAULT_PORT, show_default=True, help="Port to serve it on.")
def docs(serve: bool, docs_port: int) -> None:
    """Write the docs and lineage site into target/docs, and serve it on loopback."""
    from loaders import engine

    settings = settings_from()
    if settings.target == "local":
        engine.up(settings)
    folder = settings.project / FOLDER
    for sentence in build_site(settings, settings.project / "target", folder):
        click.echo(sentence, err=True)
    click.echo(f"{folder / INDEX}: models, sources, tests, macros, lineage; open it or serve it")
    click.echo(f"{folder / COLUMNS}: where each column comes from")
    if serve:
        with site_server(folder, docs_port) as server:
            click.echo(f"serving http://127.0.0.1:{server.server_port}/ until Ctrl-C")
            server.serve_forever()


if __name__ == "__main__":
    try:
        docs.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except UserError as error:
        raise SystemExit(f"docs: {error}") from None
    except (click.Abort, KeyboardInterrupt):
        raise SystemExit(0) from None
