"""Validates the data against a suite of expectations, before anything is computed from them.

A suite is a JSON file of Great Expectations: one of the folder `expectations/`, which comes with jabert,
or the user's own.
"""

from jabert.validation.checks import check_pieces, check_texts
from jabert.validation.report import Finding, ValidationReport
from jabert.validation.suites import find_suite, rules_digest

__all__ = [
    "Finding",
    "ValidationReport",
    "check_pieces",
    "check_texts",
    "find_suite",
    "rules_digest",
]
