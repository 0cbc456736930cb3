"""How the server ends, and how it begins when something is wrong."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

from tests.live import ROOT, LiveGateway

LARGE = ROOT / "examples" / "nuclei-large.png"


def test_a_request_in_flight_is_answered_before_the_server_ends() -> None:
    with LiveGateway() as live:
        connection = live.connect()
        data = LARGE.read_bytes()
        connection.putrequest("POST", "/segment")
        connection.putheader("Content-Type", "image/png")
        connection.putheader("Content-Length", str(len(data)))
        connection.endheaders(data)
        statuses: list[int] = []
        reader = threading.Thread(target=lambda: statuses.append(connection.getresponse().status))
        reader.start()
        while b"segment_inflight_requests 1.0" not in live.request("GET", "/metrics").body:
            assert reader.is_alive(), "answered before it was seen in flight"
        assert live.stop() == 0
        reader.join(timeout=30)
        connection.close()
    assert statuses == [200]


def serve(variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Begin to serve with these settings, of which one is wrong."""
    return subprocess.run(
        [sys.executable, "-m", "service", "serve"],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_repository_without_models_ends_the_server_with_a_clear_message(tmp_path: Path) -> None:
    ended = serve({"DISCERN_MODEL_REPOSITORY": str(tmp_path), "DISCERN_PORT": "0"})
    assert ended.returncode == 1
    assert "holds no model folder" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_wrong_setting_is_named_and_ends_the_command_with_status_2() -> None:
    ended = serve({"DISCERN_PORT": "many"})
    assert ended.returncode == 2
    assert "DISCERN_PORT" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_address_that_cannot_be_listened_on_is_said_in_a_line_of_its_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = serve({"DISCERN_PORT": str(taken.getsockname()[1])})
    assert ended.returncode != 0
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("discern: it cannot listen: ")
    assert "address already in use" in last


def test_a_variable_that_is_no_setting_is_named(tmp_path: Path) -> None:
    ended = serve(
        {"DISCERN_API_KEY_FILE": "keys", "DISCERN_MODEL_REPOSITORY": str(tmp_path / "none")}
    )
    assert "DISCERN_API_KEY_FILE is no setting" in ended.stderr  # it is called ..._KEYS_FILE
    assert "DISCERN_MODEL_REPOSITORY is no setting" not in ended.stderr
