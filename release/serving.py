"""Starts an installed gateway, far from the source tree, and posts an image to it."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

_READY: Final = re.compile(r"Discern is ready at (\S+)")


def answers_an_image(python: Path, models: Path, image: Path) -> int:
    """Return how many objects the gateway of this environment finds.

    Parameters
    ----------
    python : Path
        The environment's interpreter.
    models : Path
        What ``DISCERN_MODEL_REPOSITORY`` is to be.
    image : Path
        A PNG file.

    Raises
    ------
    RuntimeError
        If the gateway does not start, or does not answer with masks.
    """
    settings = {"DISCERN_PORT": "0", "DISCERN_MODEL_REPOSITORY": str(models.resolve())}
    with (
        tempfile.TemporaryDirectory() as elsewhere,
        subprocess.Popen(  # noqa: S603  # the interpreter that was just installed
            [python.absolute(), "-I", "-m", "service", "serve"],
            env={"PATH": "/usr/bin:/bin", "HOME": elsewhere, **settings},
            cwd=elsewhere, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        ) as process,
    ):  # fmt: skip
        try:
            found = map(_READY.search, process.stdout or ())
            address = next((match[1] for match in found if match), "")
            if not address:
                raise RuntimeError("the gateway ended before it was ready")
            return _post(address, image.read_bytes())
        finally:
            process.terminate()


def _post(address: str, image: bytes) -> int:
    target = urlsplit(address)
    connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=120)
    connection.request("POST", "/segment", image, {"Content-Type": "image/png"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    if response.status != http.client.OK:
        raise RuntimeError(f"the gateway answered {response.status}: {answer}")
    return len(answer["instances"])
