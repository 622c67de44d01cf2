"""Eight processes promote at once, as on the machines of a team."""

import pytest
import toy_registry
from promoting import Contest, check

pytestmark = pytest.mark.servers


@pytest.mark.timeout(1800)
def test_promotions_at_once_on_a_server_with_postgresql(mlflow_server, postgresql, tmp_path):
    overrides = [f"tracking.uri={mlflow_server}", f"promotion.lock={postgresql}"]
    check_contest(overrides, tmp_path, rounds=50)


@pytest.mark.timeout(1800)
def test_promotions_at_once_on_sqlite_with_a_file(tmp_path):
    check_contest([f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"], tmp_path, rounds=50)


def check_contest(overrides, folder, rounds):
    registry = toy_registry.toy_registry("contest", *overrides)
    models = [toy_registry.log_model(registry, folder / f"{right}", right) for right in range(10, 96, 4)]
    contest = Contest("contest", overrides, models, rounds)
    check(contest, contest.run(), registry)
    once = toy_registry.toy_registry("once", *overrides)
    assert [once.register(models[0]), once.register(models[0])] == ["1", "1"]
