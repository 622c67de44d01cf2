"""Finds, reads and runs suites of Great Expectations; no module but it and `docs` imports that library.

A suite is kept as JSON only. It runs in a context in memory, so that nothing but the
pages of its results is written, and committed files are not changed.
"""

import difflib
import html
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from jabert.config import expanded
from jabert.errors import JabertError
from jabert.files import digest_of_json
from jabert.safe import printable

if TYPE_CHECKING:
    from great_expectations.data_context.data_context.abstract_data_context import AbstractDataContext
    from great_expectations.expectations.expectation import Expectation

_VIEW = {"module_name": "jabert.validation.docs", "class_name": "Page"}
_SPLIT_BY = ("given", "sentence", "group")
# A condition on rows in Great Expectations' own words, whose grammar (1.24) takes no Japanese value.
_CONDITION = re.compile(
    r"""\s*col\(\s*"(?P<column>[^"]+)"\s*\)\s*
    (?: \.notnull\(\) | (?P<operator>==|!=|<=|>=|<|>)\s*
        (?: "(?P<double>[^"]*)" | '(?P<single>[^']*)'
            | (?P<number>[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?) ) )\s*""",
    re.VERBOSE,
)
_FORMS = """'col("label") == "グルメ"', 'col("characters") >= 5' and 'col("group").notnull()'"""


def import_great_expectations() -> None:
    """Import the library with its telemetry off; this takes seconds."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read by the import
    import great_expectations  # noqa: F401


def find_suite(name: str) -> Path:
    """The JSON file of a suite.

    Args:
        name: of a suite that comes with jabert, or the path of the user's own.

    Raises:
        JabertError: it is neither.
    """
    # Beside the package, in a checkout and in an installed wheel alike.
    folder = Path(__file__).resolve().parents[2] / "expectations"
    bundled = {path.stem: path for path in sorted(folder.glob("*.json"))}
    path = bundled.get(name) or expanded(name)
    if path.is_file():
        return path
    hint = _nearest(Path(name).stem, bundled)
    raise JabertError(f"validation suite {name!r} is neither a file nor a suite of jabert; {hint}")


def rules_digest(name: str) -> str:
    """Digest of all in a suite that decides its findings: not its descriptions and notes.

    Nor the expectations whose meta has `safety`: they came later, and only keep out what no label should be.

    Args:
        name: as for `find_suite`.

    Raises:
        JabertError: there is no such suite, or it cannot be read.
    """
    rules = [
        [kind, {key: entry[key] for key in ("kwargs", "severity", "meta") if key in entry}]
        for kind, entry in _entries(find_suite(name))
        if not (entry.get("meta") or {}).get("safety")
    ]
    return digest_of_json(rules)


def run_suite(
    path: Path, frame: pd.DataFrame, parameters: Mapping[str, Any], split_by: str | None, docs: Path
) -> list[dict[str, Any]]:
    """Evaluate a suite on a table, and write the pages of its results.

    Args:
        path: JSON file of the suite.
        frame: the table; results and pages name offending rows by its index.
        parameters: values for `{"$PARAMETER": name}` in the suite.
        split_by: expectations whose meta has another `when` are left out.
        docs: folder of the pages; what is in it is removed first.

    Returns:
        The result of Great Expectations for each expectation, as JSON values, in the order of the suite.

    Raises:
        JabertError: the suite cannot be read; it names an unknown expectation, column or
            parameter; or one of its expectations cannot be evaluated.
    """
    import_great_expectations()
    from great_expectations import ExpectationSuite, ValidationDefinition

    expectations = []
    for kind, entry in _entries(path):
        where = f"validation suite {path}: {kind}"
        when: str | None = (entry.get("meta") or {}).get("when")
        if when not in (None, *_SPLIT_BY):
            raise JabertError(f"{where} has the unknown 'when' {when!r}; {_nearest(when, _SPLIT_BY)}")
        if when in (None, split_by):
            expectations.append(_expectation(kind, entry, where, frame, parameters))
    shutil.rmtree(docs, ignore_errors=True)  # pages of an earlier run
    context = _context(docs)
    suite = context.suites.add(ExpectationSuite(name=path.stem, expectations=expectations))
    table = context.data_sources.add_pandas("jabert").add_dataframe_asset("table")
    rows = table.add_batch_definition_whole_dataframe("all rows")
    definition = ValidationDefinition(name=suite.name, data=rows, suite=suite)
    result = context.validation_definitions.add(definition).run(
        batch_parameters={"dataframe": frame},
        expectation_parameters=dict(parameters),
        result_format={"result_format": "COMPLETE", "return_unexpected_index_query": False},
    )
    _escape_results(context)
    context.build_data_docs()
    shutil.rmtree(docs / "static")  # 4 MB of pictures and fonts of pages other than those of jabert
    order = {expectation.id: number for number, expectation in enumerate(suite.expectations)}
    results: list[dict[str, Any]] = result.to_json_dict()["results"]  # type: ignore[no-untyped-call]
    for each in results:
        info = each["exception_info"]  # of one exception, or of one for each metric
        for record in (info, *info.values()):
            if isinstance(record, Mapping) and record.get("exception_message"):
                where = f"validation suite {path}: {each['expectation_config']['type']}"
                raise JabertError(
                    f"{where} could not be evaluated: {_in_one_line(record['exception_message'])}"
                )
    return sorted(results, key=lambda each: order[each["expectation_config"]["id"]])


def _escape_results(context: "AbstractDataContext") -> None:
    """Escape what the stored results say of the table, since the pages show it as it is (version 1.24)."""
    store = context.validation_results_store
    for key in store.list_keys():
        found: Any = store.get(key)
        for each in found.results:
            each.result = _escaped(each.result)
        store.set(key, found)


def _escaped(value: Any) -> Any:
    """Strings in JSON values, at any depth, as HTML; keys stay."""
    if isinstance(value, str):
        return html.escape(printable(value))
    if isinstance(value, list | tuple):
        return [_escaped(each) for each in value]
    return {key: _escaped(each) for key, each in value.items()} if isinstance(value, dict) else value


def _entries(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Type and other fields of each expectation in a suite's file."""
    try:
        entries = [dict(entry) for entry in json.loads(path.read_bytes())["expectations"]]
        return [(str(entry.pop("type")), entry) for entry in entries]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise JabertError(f"validation suite {path} cannot be read as JSON: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise JabertError(
            f"validation suite {path} has no list 'expectations', each with a 'type'"
        ) from error


def _expectation(
    kind: str, entry: Mapping[str, Any], where: str, frame: pd.DataFrame, parameters: Mapping[str, Any]
) -> "Expectation":
    """The expectation, after checking that its columns and parameters are there."""
    from great_expectations.compatibility import pydantic
    from great_expectations.exceptions import exceptions
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    known = list_registered_expectation_implementations()
    if kind not in known:
        raise JabertError(f"{where} is not an expectation; {_nearest(kind, known)}")
    fields = {key: value for key, value in entry.items() if key not in ("id", "rendered_content")}
    fields["kwargs"] = _with_condition(fields.get("kwargs") or {}, where)
    try:
        expectation = ExpectationConfiguration(kind, **fields).to_domain_obj()
    except pydantic.ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise JabertError(f"{where}: {_in_one_line('; '.join(faults))}") from error
    except (exceptions.GreatExpectationsError, TypeError, ValueError) as error:
        raise JabertError(f"{where}: {_in_one_line(error)}") from error
    kwargs = expectation.configuration.kwargs
    columns = [kwargs[key] for key in ("column", "column_A", "column_B") if key in kwargs]
    condition = fields["kwargs"].get("row_condition")
    if isinstance(condition, dict) and "column" in condition:
        columns.append(condition["column"]["name"])
    for column in columns + kwargs.get("column_list", []):
        if column not in frame and expectation.expectation_type != "expect_column_to_exist":
            raise JabertError(
                f"{where} names the unknown column {column!r}; {_nearest(column, map(str, frame))}"
            )
    for name in expectation.suite_parameter_options:
        if name not in parameters:
            raise JabertError(f"{where} names the unknown parameter {name!r}; {_nearest(name, parameters)}")
    return expectation


def _with_condition(kwargs: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The arguments of an expectation with its `row_condition` as an object, if it is one in words.

    Such objects are what Great Expectations makes of the words itself, which it is about to give up.
    """
    words, others = kwargs.get("row_condition"), {**kwargs}
    if not isinstance(words, str):
        return others
    parser = others.pop("condition_parser", "pandas")
    if parser == "pandas":
        return others | {"row_condition": {"type": "pass_through", "pass_through_filter": words}}
    found = _CONDITION.fullmatch(words)
    if found is None:
        raise JabertError(
            f"{where} has the row_condition {words!r}, which cannot be read; forms that work are {_FORMS}, "
            'or with "condition_parser": "pandas" all that DataFrame.query of pandas takes'
        )
    about: dict[str, Any] = {"column": {"name": found["column"]}}
    if found["operator"] is None:
        return others | {"row_condition": {"type": "nullity", "is_null": False, **about}}
    text = found["double"] if found["double"] is not None else found["single"]
    value = text if text is not None else _number(found["number"])
    compared = {"type": "comparison", "operator": found["operator"], "parameter": value}
    return others | {"row_condition": {**compared, **about}}


def _number(digits: str) -> int | float:
    return int(digits) if digits.lstrip("+-").isdigit() else float(digits)


def _context(docs: Path) -> "AbstractDataContext":
    """A context in memory, with pages in `docs` and no progress bars."""
    from great_expectations import get_context
    from great_expectations.data_context.types import base

    pages = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.resolve())},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder", "view": _VIEW},
        "site_section_builders": {"expectations": {"view": _VIEW}, "validations": {"view": _VIEW}},
    }
    return get_context(
        mode="ephemeral",
        project_config=base.DataContextConfig(
            store_backend_defaults=base.InMemoryStoreBackendDefaults(),
            data_docs_sites={"data_docs": pages},
            progress_bars=base.ProgressBarsConfig(globally=False),
            analytics_enabled=False,
        ),
    )


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"the nearest is {near[0]!r}" if near else f"there are: {', '.join(names) or 'none'}"


def _in_one_line(message: object) -> str:
    return " ".join(str(message).split())
