"""Writes the Python code of the proto files beside this script; run it by `make protos`."""

import argparse
import os
import sys
from pathlib import Path

import grpc_tools.protoc

PROTOS = Path(__file__).resolve().parent
ROOT = PROTOS.parent

# Whose code lies where. The Open Inference Protocol's is the server's alone: no process can hold it beside that of
# another distribution, such as tritonclient, and the client is to live beside any.
PACKAGES = {"client": Path("gradserve", "v1"), "server": Path("gradserve_server", "open_inference")}

# Well-known types such as google.protobuf.Timestamp come with grpcio-tools.
WELL_KNOWN = Path(grpc_tools.protoc.__file__).with_name("_proto")


def generate(out: Path) -> None:
    """Replaces all generated modules and stubs below `out`.

    The folder of a proto file is the Python package of its code, so that no import needs to be rewritten.

    Raises:
        SystemExit: protoc refused a file; its own message is on stderr.
    """
    for distribution, package in PACKAGES.items():
        folder = out / distribution
        for stale in (folder / package).glob("*_pb2*.py*"):
            stale.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        outputs = [f"--{kind}_out={folder}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
        sources = [source.relative_to(PROTOS).as_posix() for source in sorted((PROTOS / package).glob("*.proto"))]
        status = grpc_tools.protoc.main(["protoc", f"-I{PROTOS}", f"-I{WELL_KNOWN}", *outputs, *sources])
        if status:
            raise SystemExit(status)


def main() -> None:
    """Generates into this repository, or into the folder given by --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=ROOT, help="where to write client/ and server/ (default: %(default)s)"
    )
    # protoc looks for the plug-ins of mypy-protobuf on PATH; they lie beside this interpreter.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    generate(parser.parse_args().out)


if __name__ == "__main__":
    main()
