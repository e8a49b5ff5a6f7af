"""What models, checkpoints and files in the store may be called: nothing that means anything to a file system."""

from __future__ import annotations

import re
import secrets

from gradserve_server.errors import InvalidArgument

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
"""A model's or a checkpoint's name. No separator, nothing hidden, one case: no two names are one folder anywhere."""

MANIFEST = "manifest.json"

WEIGHTS_PATTERN = r"^[0-9]{1,19}-[0-9a-f]{8}\.safetensors$"
"""The name of a file of weights, whose version comes first."""

_WRITTEN_HERE = re.compile(rf"(?:{WEIGHTS_PATTERN})|^manifest-[0-9a-f]{{8}}\.new$|^upload-[0-9a-f]{{8}}\.part$")
_STAGING = re.compile(r"\.new-[0-9a-f]{8}-.+")


def check_name(name: str, field: str) -> None:
    """Check that a model or a checkpoint can have a name.

    Raises:
        InvalidArgument: If it cannot.
    """
    if not name:
        raise InvalidArgument("required", field=field, reason="INVALID_NAME")
    if not NAME.fullmatch(name):
        raise InvalidArgument(f"must match {NAME.pattern}, got {name[:200]!r}", field=field, reason="INVALID_NAME")


def new_weights(version: int) -> str:
    """A name for a file of weights that no other file has or had."""
    return f"{version}-{secrets.token_hex(4)}.safetensors"


def new_draft() -> str:
    """A name for a file of weights that may be given up, and whose version is not known."""
    return f"upload-{secrets.token_hex(4)}.part"


def new_manifest() -> str:
    """A name for a manifest that is not yet in place."""
    return f"manifest-{secrets.token_hex(4)}.new"


def new_staging(model: str) -> str:
    """A name for the folder of a model that is not yet in place."""
    return f".new-{secrets.token_hex(4)}-{model}"


def is_staging(folder: str) -> bool:
    """Whether a folder is that of a model that was never put in place."""
    return _STAGING.fullmatch(folder) is not None


def is_disposable(file: str) -> bool:
    """Whether the store may delete a file of a model's folder that its manifest does not name."""
    return _WRITTEN_HERE.fullmatch(file) is not None
