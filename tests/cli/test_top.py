"""The command top: it reads a running server's metrics, and tells what happened between two looks."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import numpy as np
import pytest
from rich.console import Console

import gradserve
from gradserve.cli.live.activity import Activity, ModelActivity, activity
from gradserve.cli.live.scrape import Scrape, ScrapeError, scrape
from gradserve.cli.pages.top_page import TopPage

MOMENT = 30.0


def page(**series: dict[tuple[tuple[str, str], ...], float]) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    return {name: {frozenset(labels): value for labels, value in values.items()} for name, values in series.items()}


def server(ok: float, failed: float, slow: float, start: float) -> Scrape:
    own = (("model", "m"), ("operation", "forward"))
    ended = ok + failed
    buckets = {(*own, ("le", "0.001")): ended - slow, (*own, ("le", "0.003")): ended, (*own, ("le", "+Inf")): ended}
    series = page(
        gradserve_build_info={(("version", "1.2"),): 1},
        gradserve_model_info={(("model", "m"),): 1, (("model", "idle"),): 1},
        gradserve_model_version={(("model", "m"),): 7, (("model", "idle"),): 1},
        gradserve_requests_total={(*own, ("outcome", "ok")): ok, (*own, ("outcome", "error")): failed},
        gradserve_request_duration_seconds_bucket=buckets,
        gradserve_batch_rows_sum={own: 4 * ended},
        gradserve_batch_rows_count={own: ended / 2},
    )
    return Scrape(start, series)


def row(found: Activity, model: str) -> ModelActivity:
    return next(row for row in found.models if row.model == model)


def test_rates_are_those_between_two_looks():
    found = row(activity(server(100, 10, 0, 5.0), server(140, 20, 10, 15.0)), "m")
    assert (found.version, found.ok_per_second, found.failed_per_second, found.rows_per_batch) == (7, 4.0, 1.0, 8.0)


def test_quantiles_lie_evenly_within_their_bucket():
    found = row(activity(server(0, 0, 0, 0.0), server(100, 0, 50, 1.0)), "m")
    assert found.p50_seconds == pytest.approx(0.001)
    assert found.p99_seconds == pytest.approx(0.001 + 0.002 * 49 / 50)


def test_a_server_that_was_started_again_counts_from_nothing():
    found = row(activity(server(1000, 0, 0, 0.0), server(30, 0, 0, 10.0)), "m")
    assert found.ok_per_second == 3.0


def test_a_model_that_nobody_asks_has_a_row_of_nothing():
    found = row(activity(server(0, 0, 0, 0.0), server(0, 0, 0, 1.0)), "idle")
    assert (found.operation, found.ok_per_second, found.p50_seconds, found.rows_per_batch) == ("", 0.0, None, None)


def test_the_table_of_a_low_terminal_has_the_busiest_models():
    console = Console(width=120, markup=False, highlight=False)
    with console.capture() as captured:
        found = activity(server(0, 0, 0, 0.0), server(9, 0, 0, 1.0))
        console.print(TopPage("here:1", found, height=9).screen(120))
    assert " m " in captured.get()
    assert "idle" not in captured.get()
    assert "and 1 quieter ones" in captured.get()


@pytest.fixture(scope="module")
def busy(target: str):
    """Have a caller ask the bundled digits as long as the tests of this file run."""
    going = True

    def call() -> None:
        with gradserve.Client(target) as client:
            while going:
                client.model("digits")(np.zeros((3, 64), np.float32))

    caller = Thread(target=call)
    caller.start()
    yield
    going = False
    caller.join()


@pytest.mark.usefixtures("busy")
def test_a_running_server_tells_what_it_does(run):
    outcome = run("top", "--interval", 0.5, "--json")
    assert outcome.code == 0, outcome.err
    told = json.loads(outcome.out)
    (digits,) = (row for row in told["models"] if row["model"] == "digits" and row["operation"] == "forward")
    assert digits["ok_per_second"] > 0
    assert digits["rows_per_second"] == pytest.approx(3 * digits["ok_per_second"], rel=0.2)
    assert 0 < digits["p50_seconds"] <= digits["p99_seconds"]
    assert told["version"] == gradserve.__version__
    assert told["devices"][0] == {"device": "cpu", "kind": "total", "bytes": told["devices"][0]["bytes"]}


def test_each_look_is_a_line_of_json(run):
    outcome = run("top", "--interval", 0.05, "--count", 3, "--json")
    assert [json.loads(line)["version"] for line in outcome.out.splitlines()] == [gradserve.__version__] * 3


def test_plain_text_has_the_facts_and_a_line_for_each_model(run):
    lines = run("top", "--interval", 0.05).out.splitlines()
    assert lines[0].startswith("in flight: ")
    header = next(index for index, line in enumerate(lines) if line.startswith("MODEL\t"))
    assert {"digits", "logistic-regression", "mlp-50-30-20-3"} <= {line.split("\t")[0] for line in lines[header + 1 :]}


def test_where_nobody_tells_metrics_the_command_says_so_and_ends_with_5(run, target):
    for address, text in ((target, "does not speak HTTP"), ("127.0.0.1:1", "no metrics from")):
        outcome = run("top", "--metrics", address)
        assert (outcome.code, outcome.err.count("\n")) == (5, 1)
        assert text in outcome.err


def test_another_web_server_is_not_taken_for_a_gradserve():
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"up 1\n")

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Other) as other:
        Thread(target=other.serve_forever, daemon=True).start()
        with pytest.raises(ScrapeError, match="is not a Gradserve server"):
            scrape(f"127.0.0.1:{other.server_port}", MOMENT)
        other.shutdown()


def test_on_a_terminal_the_table_is_drawn_until_control_c(target):
    own, terminal = pty.openpty()
    command = [sys.executable, "-m", "gradserve", "top", "-s", target, "--interval", "0.1"]
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
    with subprocess.Popen(command, stdout=terminal, stderr=terminal, stdin=terminal, env=environ) as process:
        os.close(terminal)
        shown = ""
        deadline = time.monotonic() + MOMENT
        while shown.count("logistic-regression") < 2 and time.monotonic() < deadline:
            if select.select([own], [], [], MOMENT)[0]:
                shown += os.read(own, 65536).decode(errors="replace")
        process.send_signal(signal.SIGINT)
        assert process.wait(MOMENT) == 0
    os.close(own)
    assert f"on {target}" in shown
    assert shown.count("logistic-regression") >= 2
