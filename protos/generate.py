"""Writes the Python code of gradserve.v1 from the proto files beside this script; run it by `make protos`."""

import argparse
import os
import sys
from pathlib import Path

import grpc_tools.protoc

PROTOS = Path(__file__).resolve().parent
CLIENT = PROTOS.parent / "client"

# Well-known types such as google.protobuf.Timestamp come with grpcio-tools.
WELL_KNOWN = Path(grpc_tools.protoc.__file__).with_name("_proto")


def generate(out: Path) -> None:
    """Replaces the generated modules and stubs of gradserve.v1 below `out`.

    The folder of a proto file is the Python package of its code, so that no import needs to be rewritten.

    Raises:
        SystemExit: protoc refused a file; its own message is on stderr.
    """
    for stale in (out / "gradserve" / "v1").glob("*_pb2*.py*"):
        stale.unlink()
    outputs = [f"--{kind}_out={out}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    sources = [source.relative_to(PROTOS).as_posix() for source in sorted(PROTOS.rglob("*.proto"))]
    status = grpc_tools.protoc.main(["protoc", f"-I{PROTOS}", f"-I{WELL_KNOWN}", *outputs, *sources])
    if status:
        raise SystemExit(status)


def main() -> None:
    """Generates into client/, or into the folder given by --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=CLIENT, help="where to write the package (default: client/)")
    # protoc looks for the plug-ins of mypy-protobuf on PATH; they lie beside this interpreter.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    generate(parser.parse_args().out)


if __name__ == "__main__":
    main()
