"""A manifest as the text of its file: JSON that one can read, with the SHA-256 that proves it."""

from __future__ import annotations

import hashlib
import json

from pydantic import TypeAdapter, ValidationError

from gradserve_server.checkpoints.manifest import Manifest
from gradserve_server.checkpoints.names import MANIFEST
from gradserve_server.errors import DataLoss

_FORMAT = 1
_ADAPTER = TypeAdapter(Manifest)


def render_manifest(manifest: Manifest) -> bytes:
    """The content of a manifest's file."""
    return _framed(_FORMAT, _ADAPTER.dump_python(manifest, mode="json"))


def parse_manifest(text: bytes) -> Manifest:
    """What `render_manifest` was given.

    Raises:
        DataLoss: If the file is not, to the byte, what `render_manifest` gave, or of a later format.
    """
    document = _proven(text)
    if document["format"] != _FORMAT:
        raise DataLoss(f"{MANIFEST} has format {document['format']!r}; this version of Gradserve reads {_FORMAT}")
    try:
        return _ADAPTER.validate_python(document["manifest"])
    except ValidationError as error:
        raise DataLoss(f"{MANIFEST} is not a manifest: {error.errors()[0]['msg']}") from error


def _proven(text: bytes) -> dict[str, object]:
    damage = DataLoss(f"{MANIFEST} is not what was written")
    try:
        document = json.loads(text)
        if isinstance(document, dict) and text == _framed(document.get("format"), document.get("manifest")):
            return document
    except (ValueError, RecursionError) as error:
        raise damage from error
    raise damage


def _framed(form: object, content: object) -> bytes:
    # One text for one content, so that comparing texts finds a changed space as well as a changed digit.
    document = {"format": form, "manifest": content}
    digest = hashlib.sha256(json.dumps(document).encode()).hexdigest()
    return f"{json.dumps({**document, 'sha256': digest}, indent=1)}\n".encode()
