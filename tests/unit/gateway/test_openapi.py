"""What the description of the API says, which generated clients depend on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from service.api.auth import make_key
from service.app import create_app
from service.settings import Settings


def operation(path: str, method: str = "post", **settings: Any) -> dict[str, Any]:
    app = create_app(Settings(adapters="cvat,label_studio", **settings))
    found: dict[str, Any] = app.openapi()["paths"][path][method]
    return found


@pytest.mark.parametrize(
    ("path", "kinds"),
    [
        ("/segment", {"multipart/form-data", "application/json", "image/png"}),
        ("/segment/batch", {"multipart/form-data", "application/zip"}),
        ("/jobs", {"multipart/form-data", "application/json", "image/png", "application/zip"}),
        ("/api/function_invocations", {"application/json"}),
        ("/label-studio/predict", {"application/json"}),
    ],
)
def test_every_route_that_takes_a_body_describes_it(path: str, kinds: set[str]) -> None:
    assert kinds <= set(operation(path)["requestBody"]["content"])


def test_an_image_need_not_be_sent_where_an_embedding_stands_for_it() -> None:
    assert not operation("/segment")["requestBody"]["required"]
    assert operation("/jobs")["requestBody"]["required"]


def test_the_result_of_a_job_is_described_as_the_answer_that_it_is() -> None:
    now = operation("/segment")["responses"]
    later = operation("/jobs/{job_id}/result", "get")["responses"]
    schema = [
        answer["200"]["content"]["application/json"]["schema"]["anyOf"] for answer in (now, later)
    ]
    assert schema[0] == schema[1]
    assert set(later["200"]["content"]) == {"application/json", "application/zip", "image/png"}
    of_an_image = {"404", "413", "415", "422", "500", "502", "503", "504"}  # what it fails with
    assert of_an_image | {"401", "409"} <= set(later)


@pytest.mark.parametrize(
    ("path", "method", "statuses"),
    [
        ("/readyz", "get", {"503"}),
        ("/v2/health/ready", "get", {"503"}),
        ("/api/functions/{name}", "get", {"404", "503"}),
        ("/api/function_invocations", "post", {"400", "404", "413", "415", "422", "503", "504"}),
        ("/label-studio/setup", "post", {"503"}),
        ("/label-studio/predict", "post", {"400", "404", "413", "415", "422", "503", "504"}),
    ],
)
def test_what_can_go_wrong_is_described(path: str, method: str, statuses: set[str]) -> None:
    assert statuses <= set(operation(path, method)["responses"])


def test_a_model_that_is_not_ready_is_not_described_as_an_error() -> None:
    assert "content" not in operation("/v2/models/{name}/ready", "get")["responses"]["503"]


def test_what_is_part_of_a_path_is_never_null() -> None:
    paths = create_app(Settings(adapters="cvat,label_studio")).openapi()["paths"]
    parts = [
        part["schema"]
        for operations in paths.values()
        for described in operations.values()
        for part in described.get("parameters", [])
        if part["in"] == "path"
    ]
    assert parts
    assert all("anyOf" not in schema for schema in parts)


def test_an_image_in_json_is_text_or_an_address() -> None:
    content = operation("/segment")["requestBody"]["content"]["application/json"]
    forms = content["schema"]["properties"]["image"]["oneOf"]
    assert [form["required"] for form in forms] == [["base64"], ["url"]]


def test_keys_are_described_and_asked_for_where_they_are_needed(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(make_key("someone")[1])
    both: list[dict[str, list[str]]] = [{"bearer": []}, {"key": []}]
    for path in ("/segment", "/jobs", "/api/function_invocations"):
        assert operation(path, api_keys_file=keys)["security"] == both
        assert operation(path)["security"] == [*both, {}]
    assert "security" not in operation("/livez", "get", api_keys_file=keys)
    assert set(create_app(Settings()).openapi()["components"]["securitySchemes"]) == {
        "bearer",
        "key",
    }
