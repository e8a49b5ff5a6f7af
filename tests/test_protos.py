"""The wire contract: what is checked in is what the proto files say, and they keep to the house rules of buf."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GENERATOR = ROOT / ".venv-protos" / "bin" / "python"


PACKAGES = ("client/gradserve/v1", "server/gradserve_server/open_inference")


def generated(root: Path) -> dict[str, bytes]:
    return {
        f"{package}/{path.name}": path.read_bytes()
        for package in PACKAGES
        for path in (root / package).glob("*_pb2*.py*")
    }


def test_regenerating_the_code_changes_nothing(tmp_path: Path):
    assert GENERATOR.exists(), "run this test by `make test`, or once `make .venv-protos/.installed`"
    subprocess.run([GENERATOR, ROOT / "protos" / "generate.py", "--out", tmp_path], check=True)
    assert generated(tmp_path) == generated(ROOT)


def test_every_proto_file_has_its_code():
    protos = {path.relative_to(ROOT / "protos").with_suffix("") for path in (ROOT / "protos").rglob("*.proto")}
    found = {Path(name.partition("_pb2")[0]).relative_to(Path(name).parts[0]) for name in generated(ROOT)}
    assert found == protos


def test_buf_finds_no_fault_and_no_field_without_a_comment():
    buf = shutil.which("buf", path=str(Path(sys.executable).parent))
    assert buf, "pip install -e '.[dev]' installs buf"
    result = subprocess.run([buf, "lint", "protos"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.stdout + result.stderr, result.returncode) == ("", 0)
