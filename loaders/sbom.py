"""What the project is made of: a bill of materials (CycloneDX) and a list of licences.

Wheels by cyclonedx-bom from the environment, with the hashes of the lock; jars, ours and those in
pyspark's wheel, from what they say of themselves. A licence that nobody states is listed as such
and not guessed. A tool of development, like the docs: ``python -m loaders.sbom``.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loaders.errors import UserError
from loaders.files import write_atomically
from loaders.jars import JARS, jars_folder, pyspark_home
from loaders.kafka.broker import FOLDER as BROKER_FOLDER
from loaders.kafka.broker import pinned_jars
from loaders.kafka.streaming import CONNECTOR_JARS
from loaders.kafka.streaming import FOLDER as CONNECTOR_FOLDER
from loaders.s3 import spark as s3

NOT_STATED = "not stated"

Component = dict[str, Any]


def bill_of_materials(project: Path, python: str) -> dict[str, Any]:
    """The bill, as CycloneDX's JSON; valid by its schema, or :class:`UserError`."""
    bill = _environment(project, python)
    hashes = hashes_of(project / "requirements.lock")
    for component in bill["components"]:
        locked = hashes.get(_canonical(component["name"]), {}).get(component["version"], ())
        component.setdefault("properties", []).extend(
            {"name": "pos:lock:sha256", "value": digest} for digest in locked
        )
    bill["components"] += [jar_component(jar) for jar in _jars(project)]
    _validate(bill)
    return bill


def hashes_of(lock: Path) -> dict[str, dict[str, tuple[str, ...]]]:
    """The SHA-256 of each file that a lock allows, by package and version."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for block in re.split(r"\n(?=\S)", lock.read_text()):
        named = re.match(r"([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==([^ ;\\]+)", block)
        if named:
            digests = tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", block))
            found.setdefault(_canonical(named[1]), {})[named[2]] = digests
    return found


def jar_component(jar: Path) -> Component:
    """A jar as a component: its coordinates and licence as it states them, its SHA-256."""
    said = _coordinates(jar)
    component: Component = {
        "type": "library",
        "bom-ref": f"jar:{jar.name}",
        "name": said.get("artifactId", jar.stem),
        "version": said.get("version", ""),
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(jar.read_bytes()).hexdigest()}],
        "properties": [{"name": "pos:file", "value": jar.name}],
    }
    if "groupId" in said:
        component["group"] = said["groupId"]
        component["purl"] = (
            f"pkg:maven/{said['groupId']}/{component['name']}@{component['version']}"
        )
    if "license" in said:
        component["licenses"] = [{"license": {"name": said["license"]}}]
    return component


def licences(bill: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """``(kind, name, version, licence)`` of each component, sorted."""
    rows = []
    for component in bill["components"]:
        stated = []
        for each in component.get("licenses", ()):
            licence = each.get("license", {})
            stated.append(each.get("expression") or licence.get("id") or licence.get("name", ""))
        kind = "jar" if component["bom-ref"].startswith("jar:") else "wheel"
        named = "; ".join(dict.fromkeys(text.split("\n")[0][:100] for text in stated if text))
        rows.append((kind, component["name"], component["version"], named or NOT_STATED))
    return sorted(rows)


def _environment(project: Path, python: str) -> dict[str, Any]:
    command = [
        *(sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible"),
        *("--spec-version", "1.6", "--pyproject", str(project / "pyproject.toml"), python),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"no bill of the environment could be made: {done.stderr.strip()[-300:]}")
    bill: dict[str, Any] = json.loads(done.stdout)
    return bill


def _jars(project: Path) -> Iterator[Path]:
    """Those that are pinned, where they have been fetched, and those in pyspark's wheel; each once,
    by its name."""
    folder = jars_folder(project)
    pinned = [folder / jar.file_name for jar in JARS]
    pinned += [folder / CONNECTOR_FOLDER / jar.file_name for jar in CONNECTOR_JARS]
    pinned += [folder / BROKER_FOLDER / jar.file_name for jar in pinned_jars()]
    pinned += [folder / s3.FOLDER / jar.file_name for jar in s3.pinned_jars()]
    if home := pyspark_home():
        pinned += sorted((home / "jars").glob("*.jar"))
    by_name = {path.name: path for path in reversed(pinned) if path.exists()}
    yield from (by_name[name] for name in sorted(by_name))


def _coordinates(jar: Path) -> dict[str, str]:
    """What a jar says it is: Maven's properties, the manifest's licence, else its file's name."""
    said: dict[str, str] = {}
    with zipfile.ZipFile(jar) as archive:
        names = archive.namelist()
        properties = [name for name in names if name.endswith("/pom.properties")]
        own = [name for name in properties if jar.name.startswith(name.split("/")[-2])]
        if own or len(properties) == 1:
            text = archive.read((own or properties)[0]).decode(errors="replace")
            said.update(re.findall(r"^(groupId|artifactId|version)=(\S+)", text, re.M))
        if "META-INF/MANIFEST.MF" in names:
            text = archive.read("META-INF/MANIFEST.MF").decode(errors="replace")
            unfolded = re.sub(r"\r?\n ", "", text)
            for name in ("Bundle-License", "License"):
                if found := re.search(rf"^{name}: *(.+?)\r?$", unfolded, re.M):
                    said["license"] = found[1][:200]
                    break
        if "license" not in said and (licence := _licence_text(archive, names)):
            said["license"] = licence
    if "version" not in said and (named := re.fullmatch(r"(.+?)-(\d[\w.\-+]*)", jar.stem)):
        said["artifactId"], said["version"] = named[1], named[2]
    return said


def _licence_text(archive: zipfile.ZipFile, names: list[str]) -> str | None:
    """The licence by the first words of the text that is in the jar."""
    for name in names:
        if re.fullmatch(r"META-INF/LICENSE(\.txt|\.md)?|LICENSE(\.txt)?", name):
            text = " ".join(archive.read(name).decode(errors="replace").split())
            if "Apache License Version 2.0" in text:
                return "Apache-2.0"
            return text[:80] or None
    return None


def _validate(bill: dict[str, Any]) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill))
    if error is not None:
        raise UserError(f"the bill of materials is not valid CycloneDX: {error}")


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    """Write ``target/sbom/bom.json`` and ``licences.csv``."""
    import click

    project = Path(__file__).resolve().parent.parent
    folder = project / "target" / "sbom"
    bill = bill_of_materials(project, sys.executable)
    write_atomically(folder / "bom.json", json.dumps(bill, indent=1).encode())
    rows = licences(bill)
    with (folder / "licences.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("kind", "name", "version", "licence"), *rows])
    jars = sum(row[0] == "jar" for row in rows)
    silent = sum(row[3] == NOT_STATED for row in rows)
    click.echo(
        f"{folder}: bom.json (CycloneDX 1.6), licences.csv: {len(rows) - jars} wheels, "
        f"{jars} jars, {silent} of them state no licence"
    )


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
