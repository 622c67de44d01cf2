"""Software bills of materials."""

import json
import subprocess
import sys
from pathlib import Path

from jabert.sbom import bill_of_materials

CHECKOUT = Path(__file__).resolve().parents[2]


def test_what_is_pinned_is_listed_once_by_its_package_url():
    lines = [
        "# a comment",
        "ruamel.yaml[jinja]==0.18.6 ; python_version < '3.14' \\",
        "    --hash=sha256:0123",
        "Typing_Extensions==4.15.0",
        "torch==2.9.0+cpu",
        "torch==2.9.0+cpu",
        "unpinned>=3",
        "",
    ]
    made = bill_of_materials(lines, "model", "7")
    assert [(part["name"], part["version"], part["purl"]) for part in made["components"]] == [
        ("ruamel.yaml", "0.18.6", "pkg:pypi/ruamel-yaml@0.18.6"),
        ("torch", "2.9.0+cpu", "pkg:pypi/torch@2.9.0%2Bcpu"),
        ("Typing_Extensions", "4.15.0", "pkg:pypi/typing-extensions@4.15.0"),
    ]
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    assert made["metadata"]["component"]["version"] == "7"
    (needs,) = made["dependencies"]
    references = {part["bom-ref"] for part in made["components"]}
    assert set(needs["dependsOn"]) == references and needs["ref"] not in references


def test_the_lock_has_one():
    command = [sys.executable, "-m", "deploy.sbom", "requirements.lock"]
    made = json.loads(subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True).stdout)
    names = {part["name"] for part in made["components"]}
    lines = (CHECKOUT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert len(made["components"]) == sum("==" in line and not line.startswith(" ") for line in lines) > 100
    assert {"mlflow", "prefect", "tensorflow"} <= names
