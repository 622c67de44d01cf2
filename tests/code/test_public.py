"""What `import jabert` offers: a short list, each with an example that runs."""

import doctest
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

import jabert


def test_the_list_is_short_and_sorted_and_all_of_it_is_there():
    order = [(not word[0].isupper(), word) for word in jabert.__all__]
    assert order == sorted(order)
    assert 12 <= len(jabert.__all__) <= 18
    for name in jabert.__all__:
        assert getattr(jabert, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'classify'"):
        _ = jabert.classify


@pytest.mark.parametrize("name", jabert.__all__)
def test_an_example_runs(name):
    names = {"jabert": jabert, "np": np, "pd": pd}
    thing = getattr(jabert, name)
    found = list(doctest.DocTestFinder(recurse=False).find(thing, name, globs=names))
    assert sum(len(test.examples) for test in found), f"{name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in found:
        runner.run(test)
    assert runner.failures == 0


def test_importing_it_is_quick_and_loads_nothing_heavy():
    program = "import sys, jabert; print(len(jabert.__all__), *sys.modules)"
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert time.monotonic() - begun < 10  # 0.1 s on a quiet machine
    heavy = {"numpy", "pandas", "tensorflow", "mlflow", "prefect", "great_expectations", "openvino"}
    assert not heavy & set(done.stdout.split())
