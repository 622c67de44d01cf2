"""A package as it is run where jabert is not: by its one file of code, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

from jabert.runtime import text_classifier

_PROGRAM = """
import importlib.util, json, sys
from pathlib import Path

spec = importlib.util.spec_from_file_location("text_classifier", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
found = module.TextClassifier().load(Path(sys.argv[2])).classify(json.loads(sys.argv[3]))
print(json.dumps([found.tolist(), sorted(name.partition(".")[0] for name in sys.modules)]))
"""


def classified_alone(package, texts, cwd=None):
    """Probabilities of texts, a list of rows, and the names of the packages that were imported."""
    code = str(Path(text_classifier.__file__).resolve())
    command = [sys.executable, "-c", _PROGRAM, code, str(Path(package).resolve()), json.dumps(list(texts))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd, timeout=120)
    return json.loads(done.stdout.splitlines()[-1])
