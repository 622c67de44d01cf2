"""Print the SBOM of a lock, CycloneDX: `make sbom`."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

from jabert.sbom import bill_of_materials

if __name__ == "__main__":
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    print(json.dumps(bill_of_materials(lines, "jabert", version("jabert")), indent=2))
