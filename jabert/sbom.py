"""Software bills of materials (SBOM) in CycloneDX, of requirements that are pinned.

The form is so small that it is written here: https://cyclonedx.org/docs/1.6/json/
"""

import re
from collections.abc import Iterable
from typing import Any

_PINNED = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?==(?P<version>[^\s;\\]+)")


def bill_of_materials(requirements: Iterable[str], name: str, version: str = "") -> dict[str, Any]:
    """An SBOM of the lines of a requirements file, JSON-ready; the same for the same lines.

    Args:
        requirements: lines; those that pin a package (`name==version`) count.
        name: of what needs them.
        version: of that.

    Example:
        >>> bill_of_materials(["numpy==2.4.0"], "model")["components"]
        [{'type': 'library', 'name': 'numpy', 'version': '2.4.0', 'purl': 'pkg:pypi/numpy@2.4.0', \
'bom-ref': 'pkg:pypi/numpy@2.4.0'}]
    """
    pinned = filter(None, (_PINNED.match(line.strip()) for line in requirements))
    found = {_purl(each["name"], each["version"]): each for each in pinned}
    whole = {"type": "application", "name": name, **({"version": version} if version else {})}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**whole, "bom-ref": name}},
        "components": [
            {"type": "library", "name": of["name"], "version": of["version"], "purl": purl, "bom-ref": purl}
            for purl, of in sorted(found.items())
        ],
        "dependencies": [{"ref": name, "dependsOn": sorted(found)}],
    }


def _purl(name: str, version: str) -> str:
    """The package URL; its name is normalized as PyPI does it."""
    return f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{version.replace('+', '%2B')}"
