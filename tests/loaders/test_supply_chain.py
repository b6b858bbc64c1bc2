"""The bill of materials names what is there; the audit says when it could not ask."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest

from loaders.audit import audit
from loaders.errors import UserError
from loaders.jars import JARS
from loaders.kafka.broker import pinned_jars
from loaders.kafka.streaming import CONNECTOR_JARS
from loaders.s3 import spark as s3
from loaders.sbom import NOT_STATED, _jars, hashes_of, jar_component, licences


def jar(folder: Path, name: str, **files: str) -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for number, text in files.items():
            archive.writestr(number.replace("__", "/").replace("_dot_", "."), text)
    return path


def test_a_jar_is_called_what_it_calls_itself(tmp_path: Path) -> None:
    file = jar(
        tmp_path,
        "thing-1.2.jar",
        **{
            "META-INF__maven__org.thing__thing__pom_dot_properties": "groupId=org.thing\n"
            "artifactId=thing\nversion=1.2\n",
            "META-INF__maven__org.other__shaded__pom_dot_properties": "groupId=org.other\n",
            "META-INF__MANIFEST_dot_MF": "Bundle-License: https://www.apache.org/licens\n es/x\n",
        },
    )
    component = jar_component(file)
    assert component["purl"] == "pkg:maven/org.thing/thing@1.2"
    assert component["hashes"][0]["content"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert licences({"components": [component]}) == [
        ("jar", "thing", "1.2", "https://www.apache.org/licenses/x")
    ]


def test_every_jar_that_is_pinned_is_in_the_bill_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POS_JARS", str(tmp_path))
    pinned = {"": JARS, "spark-kafka": CONNECTOR_JARS, "kafka": pinned_jars()}
    pinned["spark-s3"] = s3.pinned_jars()
    for folder, jars in pinned.items():
        (tmp_path / folder).mkdir(exist_ok=True)
        for each in jars:
            (tmp_path / folder / each.file_name).write_bytes(b"")
    names = [path.name for path in _jars(tmp_path)]
    assert len(names) == len(set(names))
    assert {each.file_name for jars in pinned.values() for each in jars} <= set(names)
    assert any(name.startswith("spark-core") for name in names)


def test_a_jar_that_says_nothing_is_named_by_its_file(tmp_path: Path) -> None:
    silent = jar_component(jar(tmp_path, "some-lib_2.13-4.4.0.jar", a="b"))
    assert (silent["name"], silent["version"], "purl" in silent) == (
        "some-lib_2.13",
        "4.4.0",
        False,
    )
    text = jar(tmp_path, "other-1.jar", **{"LICENSE": "  Apache License\n  Version 2.0, January"})
    rows = licences({"components": [silent, jar_component(text)]})
    assert [row[3] for row in rows] == ["Apache-2.0", NOT_STATED]


def test_hashes_are_those_of_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    one, two = "a" * 64, "b" * 64
    lock.write_text(
        f"Py_Thing[extra]==1.0 ; python_version > '3' \\\n    --hash=sha256:{one} \\\n"
        f"    --hash=sha256:{two}\nother==2 \\\n    --hash=sha256:{two}\n"
    )
    assert hashes_of(lock) == {"py-thing": {"1.0": (one, two)}, "other": {"2": (two,)}}


@pytest.mark.parametrize(
    ("code", "err", "said"),
    [
        (1, "requests.exceptions.ConnectionError: Failed to resolve", "nothing was checked"),
        (1, "Found 1 known vulnerability in 1 package", "found something"),
    ],
)
def test_an_audit_that_could_not_ask_is_no_clean_one(
    tmp_path: Path, code: int, err: str, said: str
) -> None:
    def run(command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, code, "", err)

    with pytest.raises(UserError, match=said):
        audit(tmp_path / "lock", run)


def test_a_clean_audit_says_so(tmp_path: Path) -> None:
    def run(command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, "", "No known vulnerabilities found\n")

    assert audit(tmp_path / "lock", run) == "No known vulnerabilities found"
