"""API keys: who gets in, what is written down about them, and when the server refuses to start."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.auth import Guard, KeyRing, hash_key, make_key, read_keys
from service.errors import SettingsError
from service.settings import Settings
from tests.unit.gateway.calls import Connect, StartApp

KEY, LINE = make_key("scope-3")
ADMIN_KEY, ADMIN_LINE = make_key("ops")


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"# who may ask\n{LINE}\n\n{ADMIN_LINE} admin quota=5/minute\n")
    return path


def test_a_made_key_is_found_under_its_name_and_its_line_does_not_hold_it(keys_file: Path) -> None:
    caller = KeyRing(keys_file).caller(KEY)
    assert caller is not None
    assert (caller.key, caller.admin, caller.quota) == ("scope-3", False, None)
    assert KEY not in keys_file.read_text()


def test_rights_and_quota_stand_behind_the_digest(keys_file: Path) -> None:
    caller = KeyRing(keys_file).caller(ADMIN_KEY)
    assert caller is not None
    assert (caller.admin, caller.quota) == (True, "5/minute")


@given(st.text())
def test_no_other_text_is_a_key(text: str) -> None:
    digests = {LINE.rpartition(":")[2], ADMIN_LINE.rpartition(":")[2]}
    assert (hash_key(text) in digests) == (text in {KEY, ADMIN_KEY})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "holds no key"),
        ("# nothing\n", "holds no key"),
        ("name-only", "line 1"),
        (f"{LINE}\nbad name sha256:00", "line 2"),
        (f"{LINE} root", "'root'"),
        (f"{LINE} quota=many", "'many'"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_line(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(SettingsError, match=complaint):
        read_keys(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        KeyRing(tmp_path / "none")


def test_a_changed_file_holds_from_the_next_request_on(keys_file: Path) -> None:
    ring = KeyRing(keys_file, check_s=0)
    other, line = make_key("new")
    replacement = keys_file.with_suffix(".new")
    replacement.write_text(line)
    replacement.replace(keys_file)
    assert ring.caller(KEY) is None
    assert ring.caller(other) is not None


@pytest.mark.parametrize("text", ["", "nonsense here", None])
def test_a_file_that_became_unusable_leaves_the_keys_of_before(
    keys_file: Path, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    ring = KeyRing(keys_file, check_s=0)
    keys_file.unlink() if text is None else keys_file.write_text(text)
    with caplog.at_level(logging.ERROR):
        assert ring.caller(KEY) is not None
    assert "stay as they were" in caplog.text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])  # noqa: S104 - the point
def test_an_address_others_can_reach_needs_keys_or_plain_words(host: str, keys_file: Path) -> None:
    with pytest.raises(SettingsError, match="DISCERN_ALLOW_ANONYMOUS"):
        Guard(Settings(host=host))
    Guard(Settings(host=host, allow_anonymous=True))
    Guard(Settings(host=host, api_keys_file=keys_file))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_neither(host: str) -> None:
    Guard(Settings(host=host))


@pytest.mark.parametrize("path", ["/models", "/limits", "/models/plain", "/v2/models/plain"])
async def test_what_is_served_is_told_only_to_those_with_a_key(
    start_app: StartApp, connect: Connect, keys_file: Path, path: str
) -> None:
    client = await connect(await start_app(api_keys_file=keys_file))
    refused = await client.get(path)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert (await client.get(path, headers={"X-API-Key": "wrong"})).status_code == 401
    assert (await client.get(path, headers={"X-API-Key": KEY})).status_code == 200
    bearer = {"Authorization": f"bearer {KEY}"}
    assert (await client.get(path, headers=bearer)).status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/v2/health/live", "/docs"])
async def test_probes_metrics_and_pages_need_no_key(
    start_app: StartApp, connect: Connect, keys_file: Path, path: str
) -> None:
    client = await connect(await start_app(api_keys_file=keys_file))
    assert (await client.get(path)).status_code == 200


async def test_the_log_names_the_key_and_never_holds_it(
    start_app: StartApp, connect: Connect, keys_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = await connect(await start_app(api_keys_file=keys_file))
    with caplog.at_level(logging.DEBUG):
        await client.get("/models", headers={"Authorization": f"Bearer {KEY}"})
        await client.post("/segment", headers={"X-API-Key": "guess-123"})
    lines = [str(getattr(record, "fields", "")) + record.getMessage() for record in caplog.records]
    assert [line for line in lines if "scope-3" in line] != []
    assert [line for line in lines if KEY in line or "guess-123" in line] == []


async def test_metrics_count_what_each_key_asks(
    start_app: StartApp, connect: Connect, keys_file: Path
) -> None:
    client = await connect(await start_app(api_keys_file=keys_file))
    await client.post("/segment", headers={"X-API-Key": KEY})
    exposition = (await client.get("/metrics")).text
    assert (
        'segment_client_requests_total{client="scope-3",outcome="malformed-request"} 1.0'
        in exposition
    )
