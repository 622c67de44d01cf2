"""A registry of MLflow in memory: what its client does with versions, tags and aliases, in no time."""

from types import SimpleNamespace

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST


class Killed(BaseException):
    """The process ended before a call, for all that its code can tell."""


class MemoryClient:
    """One registered model; `kill_at` is the number of the writing call that is never made."""

    def __init__(self, name="jabert", versions=0):
        self.name, self.model, self.versions = name, None, {}
        self.runs, self.written, self.kill_at = {}, [], None
        for _ in range(versions):
            self.add()

    def add(self, **about):
        self.model = self.model or SimpleNamespace(name=self.name, tags={}, aliases={})
        number = str(len(self.versions) + 1)
        usual = {"source": f"models:/m-{number}", "run_id": f"run-{number}", "creation_timestamp": 0}
        # MLflow gives the number of a version as a text or as an integer, as the store has it.
        self.versions[number] = SimpleNamespace(**{"version": int(number), "tags": {}, **usual, **about})
        return number

    def delete(self, version):
        del self.versions[version]
        for alias in [alias for alias, of in self.model.aliases.items() if of == version]:
            del self.model.aliases[alias]

    def _write(self, *call):
        if len(self.written) == self.kill_at:
            raise Killed(call)
        self.written.append(call)

    def _there_is(self, found, what):
        if found is None:
            raise MlflowException(f"there is no {what}", error_code=RESOURCE_DOES_NOT_EXIST)
        return found

    def get_registered_model(self, name):
        return self._there_is(self.model if name == self.name else None, "model")

    def search_registered_models(self, max_results):
        return [self.model] if self.model else []

    def get_model_version(self, name, version):
        return self._there_is(self.versions.get(version) if name == self.name else None, "version")

    def search_model_versions(self, query, max_results=100):
        assert 0 < max_results <= 200_000, "MLflow takes no other number"
        found = list(self.versions.values()) if query == f"name = '{self.name}'" else []
        return found[:max_results]

    def get_run(self, run_id):
        return self._there_is(self.runs.get(run_id), "run")

    def set_registered_model_tag(self, name, key, value):
        assert isinstance(value, str)
        self._write("log", key)
        self.get_registered_model(name).tags[key] = value

    def set_model_version_tag(self, name, version, key, value):
        assert isinstance(value, str)
        self._write("tag", version, key)
        self.get_model_version(name, version).tags[key] = value

    def update_model_version(self, name, version, description):
        self._write("describe", version)
        self.get_model_version(name, version).description = description

    def set_registered_model_alias(self, name, alias, version):
        self._write("alias", alias, version)
        self.get_model_version(name, version)
        self.get_registered_model(name).aliases[alias] = version

    def delete_registered_model_alias(self, name, alias):
        self._write("no alias", alias)
        self.get_registered_model(name).aliases.pop(alias, None)
