"""Packages of linear classifiers on n-grams, written by hand as `jabert/runtime/text_classifier.py` says."""

import hashlib

import numpy as np

from jabert.files import write_json


def write_ngrams(folder, ngrams, kernel, bias, longest=1):
    """Write what `Ngrams` of the runtime reads; all n-grams weigh the same."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "ngrams.json", {"longest": longest, "ngrams": ngrams})
    np.savez(folder / "ngrams.npz", idf=np.ones(len(ngrams)), kernel=kernel, bias=bias)


def write_about(package, labels, members, **more):
    """Write `package.json` of a package whose members, names of folders by runtime, are there; sign it."""
    listed = [{"folder": name, "runtime": runtime, "requires": []} for name, runtime in members.items()]
    about = {"format": "2", "labels": labels, "max_texts": 100, "members": listed, **more}
    write_json(package / "package.json", about)
    sign(package)
    return package


def sign(package):
    """Write SHA256SUMS anew, as coreutils do."""
    files = (path for path in package.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    names = sorted(path.relative_to(package).as_posix() for path in files)
    sums = [f"{hashlib.sha256((package / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (package / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
