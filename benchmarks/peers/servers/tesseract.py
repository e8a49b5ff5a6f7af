"""Tesseract's runtime outside its container: HTTP with JSON and base64, no batches."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tesseract_core.runtime.serve import serve

from benchmarks.peers.servers.net_on_one_thread import from_command_line

if __name__ == "__main__":
    net, port = from_command_line()
    os.environ["NET"] = net.net.name
    os.environ["TESSERACT_API_PATH"] = str(Path(__file__).with_name("tesseract_api.py"))
    # It writes a folder for each call.
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TESSERACT_OUTPUT_PATH"] = folder
        serve("127.0.0.1", port, num_workers=1)
