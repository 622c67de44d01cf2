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


def test_no_proxy_stands_between_the_processes(tmp_path, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "intern.example")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:8080")
    monkeypatch.setenv("JABERT_FOLDER", str(tmp_path))
    monkeypatch.setenv("JABERT_HOST", "192.0.2.7")
    given = host.environment()
    expected = "intern.example,localhost,127.0.0.1,::1,192.0.2.7"
    assert (given["no_proxy"], given["NO_PROXY"]) == (expected, expected)
