"""The command serve: its flags reach the server. What the server makes of them has tests of its own."""

import json
import signal
import subprocess
import sys

import pytest

from tests.support.server import start_server


def test_print_config_prints_toml_that_is_a_configuration(run_anywhere, tmp_path):
    printed = run_anywhere("serve", "--examples", "--set", "limits.max_models=7", "--print-config")
    (tmp_path / "server.toml").write_text(printed.out)
    again = run_anywhere("serve", "--config", tmp_path / "server.toml", "--print-config")
    assert printed.code == 0
    assert again.out == printed.out


def test_print_config_prints_the_same_as_json(run_anywhere):
    config = json.loads(run_anywhere("serve", "--set", "limits.max_models=7", "--print-config", "--json").out)
    assert config["limits"]["max_models"] == 7
    assert config["server"]["listen"] == "127.0.0.1:50051"


def test_flags_win_over_the_environment_and_that_over_the_file(run_anywhere, tmp_path):
    file = tmp_path / "server.toml"
    file.write_text('[limits]\nmax_models = 1\nmax_layers = 1\nmax_rows = 1\n[server]\nlisten = "127.0.0.1:1"')
    env = {"GRADSERVE_SERVER__LIMITS__MAX_MODELS": "2", "GRADSERVE_SERVER__LIMITS__MAX_LAYERS": "2"}
    flags = ("--set", "limits.max_models=3", "--listen", "127.0.0.1:3")
    config = json.loads(run_anywhere("serve", "--config", file, *flags, "--print-config", "--json", env=env).out)
    limits = config["limits"]
    assert (limits["max_models"], limits["max_layers"], limits["max_rows"]) == (3, 2, 1)
    assert config["server"]["listen"] == "127.0.0.1:3"


def test_check_config_accepts_a_sound_configuration(run_anywhere):
    assert run_anywhere("serve", "--examples", "--check-config").code == 0


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--set", "limits.max_modles=3", "--check-config"), "limits.max_models"),
        (("--set", "limits.max_models=many", "--check-config"), "limits.max_models"),
        (("--set", "limits", "--check-config"), "limits"),
        (("--listen", "nonsense", "--check-config"), "listen"),
        (("--metrics-listen", "nonsense", "--check-config"), "metrics_listen"),
        (("--config", "nowhere.toml", "--check-config"), "nowhere.toml"),
        (("--data-dir", "data", "--ephemeral"), "--ephemeral and --data-dir contradict each other"),
        (("--json",), "--json is for --print-config"),
        (("--json", "--check-config"), "--json is for --print-config"),
    ],
)
def test_a_wrong_configuration_is_one_line_and_exit_code_2(run_anywhere, flags, says):
    outcome = run_anywhere("serve", *flags)
    assert (outcome.code, outcome.out) == (2, "")
    assert says in outcome.err
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_with_exit_code_0(signum):
    with start_server("--ephemeral", "--set", "server.drain_delay=0") as server:
        assert server.stop(signum) == 0
        assert "Traceback" not in server.log()


@pytest.mark.parametrize("missing", ["torch", "pydantic"])
def test_without_the_servers_extra_serve_says_what_to_install(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; from gradserve.cli import main; sys.exit(main(['serve']))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"gradserve: {missing} is not installed: pip install 'gradserve[server]'\n"


@pytest.mark.parametrize(
    ("command", "extra"),
    [("serve", "server"), ("models", "cli"), ("info serve", "cli"), ("", "cli"), ("--help", "cli")],
)
@pytest.mark.parametrize("missing", ["click", "grpc_health", "rich"])
def test_without_the_command_lines_extra_every_command_says_what_to_install(command, extra, missing):
    code = f"""
import sys
for loaded in [name for name in sys.modules if name.split(".")[0] == {missing!r}]:
    del sys.modules[loaded]
sys.modules[{missing!r}] = None
from gradserve.cli import main
sys.exit(main({command.split()!r}))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"gradserve: {missing} is not installed: pip install 'gradserve[{extra}]'\n"
