"""Who may ask, and how much: keys, rights and quotas at the real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.api.auth import make_key
from tests.contract.networks import write_model
from tests.live import LiveGateway
from tests.unit.gateway.calls import png


@pytest.fixture(scope="module")
def keys() -> dict[str, tuple[str, str]]:
    """Keys, and their lines for the file, by name."""
    return {name: make_key(name) for name in ("scope", "ops", "scarce")}


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory, keys: dict[str, tuple[str, str]]) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys"
    rights = {"scope": "", "ops": " admin", "scarce": " quota=2/hour"}
    path.write_text("".join(f"{keys[name][1]}{right}\n" for name, right in rights.items()))
    return path


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, keys_file: Path) -> Iterator[LiveGateway]:
    """A gateway that every address can reach, so that it needs keys."""
    folder = tmp_path_factory.mktemp("guarded")
    write_model(folder, "plain")
    settings = {
        "host": "0.0.0.0",  # noqa: S104 - this is what needs keys
        "api_keys_file": str(keys_file),
        "model_repository": str(folder),
        "default_model": "plain",
        "jobs_file": str(folder / "jobs"),
    }
    with LiveGateway(settings) as live:
        live.address = live.address.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - see above
        yield live


def ask(gateway: LiveGateway, path: str = "/segment", **headers: str) -> int:
    return gateway.request("POST", path, png(), content_type="image/png", **headers).status


def test_without_a_key_or_with_a_wrong_one_nobody_gets_in(guarded: LiveGateway) -> None:
    assert ask(guarded) == 401
    assert ask(guarded, x_api_key="nothing") == 401
    assert ask(guarded, "/jobs") == 401
    refused = guarded.request("POST", "/segment", png(), content_type="image/png")
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert refused.json()["code"] == "unauthenticated"


@pytest.mark.parametrize("form", ["x_api_key", "authorization"])
def test_a_key_is_taken_in_either_header(
    guarded: LiveGateway, keys: dict[str, tuple[str, str]], form: str
) -> None:
    key = keys["scope"][0]
    assert ask(guarded, **{form: f"Bearer {key}" if form == "authorization" else key}) == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/v2/health/ready"])
def test_probes_and_metrics_need_no_key(guarded: LiveGateway, path: str) -> None:
    assert guarded.request("GET", path).status == 200


def test_a_key_of_its_own_quota_is_told_what_is_left_and_then_refused(
    guarded: LiveGateway, keys: dict[str, tuple[str, str]]
) -> None:
    statuses = [ask(guarded, x_api_key=keys["scarce"][0]) for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert ask(guarded, x_api_key=keys["scope"][0]) == 200


def test_the_name_of_a_key_is_in_the_metrics_and_the_key_is_not(
    guarded: LiveGateway, keys: dict[str, tuple[str, str]]
) -> None:
    ask(guarded, x_api_key=keys["scope"][0])
    text = guarded.request("GET", "/metrics").body.decode()
    assert 'client="scope"' in text
    assert keys["scope"][0] not in text


def test_a_job_is_seen_with_the_key_that_handed_it_in_and_no_other(
    guarded: LiveGateway, keys: dict[str, tuple[str, str]]
) -> None:
    own, other = keys["scope"][0], keys["ops"][0]
    job = guarded.request("POST", "/jobs", png(), content_type="image/png", x_api_key=own)
    assert job.status == 202
    path = job.headers["location"]
    assert guarded.request("GET", path, x_api_key=own).status == 200
    assert guarded.request("GET", path, x_api_key=other).status == 404
    assert guarded.request("DELETE", path, x_api_key=other).status == 404


def test_a_key_that_is_taken_out_of_the_file_stops_working_without_a_restart(
    guarded: LiveGateway, keys_file: Path, keys: dict[str, tuple[str, str]]
) -> None:
    late, line = make_key("late")
    before = keys_file.read_text()
    keys_file.write_text(before + line + "\n")
    while ask(guarded, x_api_key=late) == 401:
        pass
    keys_file.write_text(before)
    while ask(guarded, x_api_key=late) == 200:
        pass
    assert ask(guarded, x_api_key=late) == 401
