"""A server's configuration: where its values come from, which one wins, and what is refused, in which words."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gradserve_server.config import (
    Address,
    Config,
    ConfigError,
    Limits,
    ModelConfig,
    ServeOptions,
    StoreConfig,
    load_config,
)
from gradserve_server.config import render_config as render

WriteFile = Callable[[str], Path]

WIDTHS = "in_features=2, out_features=1"


def load(*settings: str, toml: Path | None = None, env: dict[str, str] | None = None, listen: str | None = None):
    return load_config(ServeOptions(config=toml, settings=settings, listen=listen), env or {})


def refusal(*settings: str, toml: Path | None = None, env: dict[str, str] | None = None, listen: str | None = None):
    with pytest.raises(ConfigError) as caught:
        load(*settings, toml=toml, env=env, listen=listen)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def file(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "server.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


class TestDefaults:
    def test_without_any_source_every_option_has_its_default(self):
        assert load() == Config()

    def test_only_this_machine_can_reach_the_server(self):
        assert load().server.listen == "127.0.0.1:50051"

    def test_nothing_can_be_changed(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            load().limits.max_rows = 1  # type: ignore[misc]

    def test_loading_does_not_import_torch(self):
        script = "import sys, gradserve_server.config; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


class TestPrecedence:
    FILE = "[server]\nlisten = 'localhost:1'"
    VARIABLE = "GRADSERVE_SERVER__SERVER__LISTEN"
    SETTING = "server.listen=localhost:3"
    FLAG = "localhost:4"

    @pytest.mark.parametrize("sources", range(5))
    def test_flag_wins_over_set_over_environment_over_file_over_default(self, file: WriteFile, sources: int):
        config = load(
            *([self.SETTING] if sources >= 3 else []),
            toml=file(self.FILE) if sources >= 1 else None,
            env={self.VARIABLE: "localhost:2"} if sources >= 2 else None,
            listen=self.FLAG if sources >= 4 else None,
        )
        expected = ["127.0.0.1:50051", "localhost:1", "localhost:2", "localhost:3", "localhost:4"]
        assert config.server.listen == expected[sources]

    def test_the_last_of_two_equal_settings_wins(self):
        assert load("compute.threads=2", "compute.threads=3").compute.threads == 3

    def test_a_source_changes_only_what_it_names(self, file: WriteFile):
        config = load("limits={max_layers=7}", toml=file("[limits]\nmax_rows = 5\nmax_layers = 6"))
        assert config.limits == Limits(max_rows=5, max_layers=7)

    def test_a_model_of_the_file_can_be_moved_by_the_environment(self, file: WriteFile):
        toml = file(f"[models]\na = {{{WIDTHS}}}")
        assert load(toml=toml, env={"GRADSERVE_SERVER__MODELS__A__DEVICE": "cuda:1"}).models["a"].device == "cuda:1"

    def test_the_flag_examples_adds_the_bundled_models(self):
        assert load_config(ServeOptions(examples=True), {}).server.examples

    def test_without_the_flag_examples_the_file_decides(self, file: WriteFile):
        assert load(toml=file("server.examples = true")).server.examples


class TestEnvironment:
    @pytest.mark.parametrize("text", ["", "  "])
    def test_an_empty_variable_counts_as_not_set(self, text: str):
        assert load(env={"GRADSERVE_SERVER__COMPUTE__THREADS": text}) == Config()

    def test_other_variables_are_left_alone(self):
        assert load(env={"GRADSERVE_TARGET": "elsewhere:1", "GRADSERVE_SERVER": "x"}) == Config()

    def test_a_variable_without_a_key_is_refused(self):
        assert refusal(env={"GRADSERVE_SERVER__SERVER__": "1"}) == (
            "GRADSERVE_SERVER__SERVER__: must be GRADSERVE_SERVER__SECTION__KEY"
        )

    def test_a_wrong_value_names_its_variable(self):
        assert refusal(env={"GRADSERVE_SERVER__COMPUTE__THREADS": "many"}) == (
            "GRADSERVE_SERVER__COMPUTE__THREADS: compute.threads must be a whole number, got 'many'"
        )


class TestText:
    """Values from the environment and from --set are written as in TOML, but text needs no quotes."""

    @pytest.mark.parametrize("text", ["false", "False", "FALSE", " false "])
    def test_a_flag_may_be_capitalised(self, text: str):
        assert load(f"server.reflection={text}").server.reflection is False

    def test_a_whole_number_is_one(self):
        assert load("limits.max_rows=1_000").limits.max_rows == 1000

    def test_a_duration_may_be_whole(self):
        assert load("server.drain_grace=3").server.drain_grace == 3.0

    def test_a_list_is_written_in_brackets(self):
        models = load(f"models.a={{{WIDTHS}}}", "models.a.hidden_features=[30, 20]").models
        assert models["a"].hidden_features == (30, 20)

    @pytest.mark.parametrize("text", ["Tanh", "'Tanh'", '"Tanh"'])
    def test_quotes_around_text_may_be_left_out(self, text: str):
        assert load(f"models.a={{{WIDTHS}}}", f"models.a.activation={text}").models["a"].activation == "Tanh"

    def test_a_key_with_a_dot_is_quoted(self):
        assert list(load(f'models."a.b"={{{WIDTHS}}}').models) == ["a.b"]

    @pytest.mark.parametrize("text", ["compute.threads", "=3", "", ".=3", "a..b=3", "[a]=3"])
    def test_what_is_not_a_setting_is_refused(self, text: str):
        assert refusal(text) == f"--set {text!r}: must be SECTION.KEY=VALUE"


class TestUnknownKeys:
    @pytest.mark.parametrize(
        ("setting", "meant"),
        [
            ("limit.max_rows=1", "limits"),
            ("modles.a.in_features=1", "models"),
            ("limits.max_row=1", "limits.max_rows"),
            ("server.listen_on=x", "server.listen"),
            ("listen=x", "server.listen"),
            ("server.threads=2", "compute.threads"),
            (f"models.a={{{WIDTHS}, divice='cpu'}}", "models.a.device"),
            (f"models.a={{{WIDTHS}, in_feature=1}}", "models.a.in_features"),
        ],
    )
    def test_a_slip_of_the_pen_is_answered_by_what_was_meant(self, setting: str, meant: str):
        assert refusal(setting).endswith(f"; did you mean {meant!r}?")

    def test_a_key_like_no_other_is_named(self, file: WriteFile):
        path = file("[compute]\ncolour = 3")
        assert refusal(toml=path) == f"{path}: unknown key 'compute.colour'"


class TestFiles:
    def test_a_missing_file_is_named(self, tmp_path: Path):
        path = tmp_path / "none.toml"
        assert refusal(toml=path) == f"{path}: No such file or directory"

    def test_a_directory_is_no_file(self, tmp_path: Path):
        assert refusal(toml=tmp_path) == f"{tmp_path}: Is a directory"

    def test_a_syntax_error_names_its_line(self, file: WriteFile):
        path = file("[server]\nlisten = ")
        assert refusal(toml=path) == f"{path}: is not TOML: Invalid value (at end of document)"

    def test_a_number_too_long_for_python_is_refused(self, file: WriteFile):
        assert "is not TOML" in refusal(toml=file(f"limits.max_rows = {'9' * 5000}"))

    def test_bytes_that_are_not_text_are_refused(self, tmp_path: Path):
        path = tmp_path / "server.toml"
        path.write_bytes(b"\xff\xfe")
        assert refusal(toml=path) == f"{path}: is not UTF-8 text"

    def test_an_empty_file_says_nothing(self, file: WriteFile):
        assert load(toml=file("")) == Config()


class TestRanges:
    @pytest.mark.parametrize(
        ("setting", "complaint"),
        [
            ("limits.max_rows=0", "limits.max_rows must be greater than or equal to 1, got 0"),
            (
                "limits.max_message_bytes=5_000_000_000",
                "limits.max_message_bytes must be less than or equal to 2147483647",
            ),
            ("compute.threads=2.0", "compute.threads must be a whole number, got 2.0"),
            ("compute.threads=true", "compute.threads must be a whole number, got True"),
            ("compute.threads='2'", "compute.threads must be a whole number, got '2'"),
            ("compute=2", "compute must be a table, got 2"),
            ("models=2", "models must be a table, got 2"),
            ("server.listen=50051", "server.listen must be text, got 50051"),
            ("server.reflection=1", "server.reflection must be true or false, got 1"),
            ("server.drain_delay=-1", "server.drain_delay must be greater than or equal to 0, got -1"),
            ("server.drain_grace=inf", "server.drain_grace must be a finite number, got inf"),
            ("server.drain_grace=nan", "server.drain_grace must be a finite number, got nan"),
            ("server.tls_key=''", "server.tls_key must not be empty, got ''"),
            ("connections.max_age=0", "connections.max_age must be greater than or equal to 0.001, got 0"),
            (
                "connections.max_idle=1e9",
                "connections.max_idle must be less than or equal to 2073600, got 1000000000.0",
            ),
            (
                "connections.max_metadata_bytes=10",
                "connections.max_metadata_bytes must be greater than or equal to 1024",
            ),
        ],
    )
    def test_a_value_out_of_its_range_is_refused_by_its_dotted_name(self, setting: str, complaint: str):
        assert f"--set {setting.partition('=')[0]}: {complaint}" in refusal(setting)

    def test_every_complaint_is_made_at_once(self):
        message = refusal("limits.max_rows=0", "compute.threads=0")
        assert "limits.max_rows must be" in message
        assert "compute.threads must be" in message

    def test_a_part_that_is_built_by_hand_is_checked_too(self):
        with pytest.raises(ValueError, match="max_rows"):
            Limits(max_rows=0)


class TestListen:
    @pytest.mark.parametrize(
        "listen",
        [
            "127.0.0.1:0",
            "127.8.0.1:65535",
            "localhost:1",
            "LOCALHOST:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
            "unix:/run/g",
        ],
    )
    def test_a_local_address_is_served(self, listen: str):
        assert load(listen=listen).server.listen == listen

    @pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "192.168.0.1:1", "gpu-1.example.com:1", "my_host:1"])
    def test_beyond_this_machine_the_server_must_be_told_that_it_is_insecure(self, listen: str):
        message = refusal("server.drain_delay=0", listen=listen)
        assert message.startswith(f"--listen: server.listen must not be {listen!r}: other machines")
        assert load("server.allow_insecure=true", listen=listen).server.listen == listen

    PROTECTION = ("server.tls_certificate=c", "server.tls_key=k", "server.tokens_file=t")

    def test_beyond_this_machine_the_server_may_be_reached_with_tls_and_tokens(self):
        assert load(*self.PROTECTION, listen="0.0.0.0:1").server.listen == "0.0.0.0:1"

    @pytest.mark.parametrize(
        ("settings", "missing"),
        [
            (PROTECTION[:2], "the server has no tokens_file;"),
            (PROTECTION[2:], "the server has no tls_certificate, no tls_key;"),
            ((*PROTECTION[:2], "server.tls_client_ca=a"), "the server has no tokens_file;"),
        ],
    )
    def test_half_of_that_is_not_enough_and_the_other_half_is_named(self, settings: tuple[str, ...], missing: str):
        assert missing in refusal(*settings, listen="0.0.0.0:1")

    @pytest.mark.parametrize("setting", ["tls_certificate", "tls_key"])
    def test_a_certificate_and_its_key_go_together(self, setting: str):
        assert "must have tls_certificate and tls_key, or neither" in refusal(f"server.{setting}=x")

    def test_clients_can_be_asked_for_a_certificate_only_over_tls(self):
        assert "where it has tls_client_ca" in refusal("server.tls_client_ca=x")

    @pytest.mark.parametrize(
        ("listen", "complaint"),
        [
            ("localhost", "must be HOST:PORT or unix:PATH"),
            (":50051", "must name a host before the port"),
            ("localhost:", "must end in a port between 0 and 65535"),
            ("localhost:65536", "must end in a port between 0 and 65535"),
            ("localhost:-1", "must end in a port between 0 and 65535"),
            ("localhost:http", "must end in a port between 0 and 65535"),
            ("localhost:\u0661", "must end in a port between 0 and 65535"),
            ("::1:50051", "must hold an IPv6 address in brackets"),
            ("[::g]:50051", "must hold an IPv6 address between the brackets"),
            ("256.0.0.1:1", "must hold an IPv4 address of four numbers"),
            ("a b:1", "must name a host before the port"),
            ("http://localhost:1", "must hold an IPv6 address in brackets"),
            ("-host:1", "must name a host before the port"),
            ("unix:", "must name a socket after the colon"),
            ("unix:/" + "s" * 200, "must name a socket in at most 103 bytes"),
        ],
    )
    def test_what_is_not_an_address_is_refused(self, listen: str, complaint: str):
        assert refusal(listen=listen).startswith(f"--listen: server.listen {complaint}")

    def test_an_address_knows_its_host_and_port(self):
        assert Address.parse("[::1]:50051") == Address("[::1]:50051", "::1", 50051)


class TestMetricsListen:
    FILE = "server.metrics_listen = 'localhost:1'"
    VARIABLE = "GRADSERVE_SERVER__SERVER__METRICS_LISTEN"

    @pytest.mark.parametrize("sources", range(5))
    def test_flag_wins_over_set_over_environment_over_file_over_default(self, file: WriteFile, sources: int):
        options = ServeOptions(
            config=file(self.FILE) if sources >= 1 else None,
            settings=("server.metrics_listen=localhost:3",) if sources >= 3 else (),
            metrics_listen="localhost:4" if sources >= 4 else None,
        )
        config = load_config(options, {self.VARIABLE: "localhost:2"} if sources >= 2 else {})
        expected = ["127.0.0.1:9464", "localhost:1", "localhost:2", "localhost:3", "localhost:4"]
        assert config.server.metrics_listen == expected[sources]

    def test_other_machines_may_be_let_in_without_more_ado(self):
        assert load("server.metrics_listen=0.0.0.0:9464").server.metrics_listen == "0.0.0.0:9464"

    @pytest.mark.parametrize("listen", ["unix:/run/g", "unix-abstract:g"])
    def test_a_unix_socket_is_refused(self, listen: str):
        assert refusal(f"server.metrics_listen={listen}").endswith(f"must be HOST:PORT, got {listen!r}")

    def test_what_is_not_an_address_is_refused(self):
        with pytest.raises(ConfigError, match=r"^--metrics-listen: server\.metrics_listen must end in a port"):
            load_config(ServeOptions(metrics_listen="localhost:http"), {})


class TestModels:
    @pytest.mark.parametrize("name", ["A", "-a", "a/b", "../x", "a" * 129, "a.gradient"])
    def test_a_name_that_no_model_can_have_is_refused(self, name: str):
        assert f"models.{name} must" in refusal(f"models.{name!r}={{{WIDTHS}}}")

    @pytest.mark.parametrize(
        ("options", "complaint"),
        [
            ("in_features=2", "models.a needs in_features and out_features, or layers"),
            ("layers=[{type='ReLU'}], in_features=2", "models.a takes either layers, or in_features"),
            ("layers=[1]", "models.a.layers[0] must be a table, got 1"),
            (f"{WIDTHS}, hidden_features=[3, 'x']", "models.a.hidden_features[1] must be a whole number, got 'x'"),
            (f"{WIDTHS}, hidden_features=3", "models.a.hidden_features must be a list, got 3"),
            (
                f"{WIDTHS}, dtype='int8'",
                "models.a.dtype must be 'float16', 'bfloat16', 'float32' or 'float64', got 'int8'",
            ),
            (f"{WIDTHS}, device='gpu'", "models.a.device must be auto, cpu, cuda, cuda:<n> or mps, got 'gpu'"),
            (f"{WIDTHS}, seed=1.5", "models.a.seed must be a whole number, got 1.5"),
        ],
    )
    def test_a_model_that_cannot_be_is_refused(self, options: str, complaint: str):
        assert complaint in refusal(f"models.a={{{options}}}")

    def test_layers_are_kept_as_they_are_written(self, file: WriteFile):
        toml = file("[[models.a.layers]]\ntype = 'Linear'\nin_features = 2\nout_features = 1\nbias = false")
        layer = {"type": "Linear", "in_features": 2, "out_features": 1, "bias": False}
        assert load(toml=toml).models == {"a": ModelConfig(layers=(layer,))}

    def test_an_empty_table_is_a_model_without_widths(self, file: WriteFile):
        path = file("[models.a]")
        assert refusal(toml=path) == f"{path}: models.a needs in_features and out_features, or layers"


class TestFlags:
    def test_a_data_dir_beside_ephemeral_is_refused(self):
        with pytest.raises(ConfigError, match="--ephemeral: keeps nothing on disk"):
            load_config(ServeOptions(data_dir=Path("data"), ephemeral=True), {})

    @pytest.mark.parametrize(
        ("options", "store"),
        [
            (ServeOptions(), StoreConfig(data_dir="here")),
            (ServeOptions(data_dir=Path("there")), StoreConfig(data_dir="there")),
            (ServeOptions(ephemeral=True), StoreConfig(data_dir="here", ephemeral=True)),
        ],
    )
    def test_a_flag_says_where_models_are_kept_if_at_all(self, options: ServeOptions, store: StoreConfig):
        assert load_config(options, {"GRADSERVE_SERVER__STORE__DATA_DIR": "here"}).store == store


class TestRendering:
    @pytest.mark.parametrize(
        "settings",
        [
            (),
            ("server.listen=[::1]:0", "server.drain_delay=2", "limits.max_rows=7", "server.examples=true"),
            (
                f"models.a={{{WIDTHS}, hidden_features=[3, 4], seed=-1}}",
                f'models."b.c"={{{WIDTHS}, activation="Tanh"}}',
            ),
            ("models.a={layers=[{type='Linear', in_features=2, out_features=1}, {type='GELU', approximate='tanh'}]}",),
        ],
    )
    def test_what_is_printed_loads_back_to_the_same_configuration(self, file: WriteFile, settings: tuple[str, ...]):
        config = load(*settings)
        assert load(toml=file(render(config))) == config

    def test_every_option_is_printed(self):
        assert "drain_grace = 10.0" in render(Config())
