"""The processes that `make up` starts."""

import shlex

from supervisor.options import ServerOptions

from deploy import host


def test_paths_with_a_space_are_one_word_of_a_command(tmp_path, monkeypatch):
    python, folder = str(tmp_path / "my venv" / "python"), tmp_path / "my runs"
    (folder / "logs").mkdir(parents=True)
    monkeypatch.setattr("sys.executable", python)
    monkeypatch.setenv("JABERT_FOLDER", str(folder))
    for name, value in host.environment().items():
        monkeypatch.setenv(name, value)

    options = ServerOptions()
    options.realize(["-c", str(host.CONFIG)])

    commands = {
        group.name: shlex.split(process.command)  # as supervisor splits it
        for group in options.process_group_configs
        for process in group.process_configs
    }
    assert commands.keys() == {"prefect", "mlflow", "worker"}
    assert {words[0] for words in commands.values()} == {python}
    assert {words[1] for words in commands.values()} == {"-m"}
    assert commands["mlflow"][-1] == str(folder / "artifacts")
