from __future__ import annotations

import copy
from typing import Any, Final

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.deploy.manifests import OVERLAYS, ROOT, Resource, named, needs_kubectl, of_kind, render

pytestmark = needs_kubectl

RELEASES: Final = ("1.34.0", "1.35.0", "1.36.0", "1.37.0")
CUSTOM: Final[dict[str, Any]] = yaml.safe_load(
    (ROOT / "tests/deploy/crd_schemas.yaml").read_text(encoding="utf-8")
)


def custom_resource_errors(resource: Resource) -> list[str]:
    schema = {
        **CUSTOM["kinds"][resource["kind"]],
        "definitions": CUSTOM["definitions"],
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
    }
    rest = {"kind": {"const": resource["kind"]}, "metadata": {"$ref": "#/definitions/metadata"}}
    schema["properties"] = {**schema["properties"], **rest}
    return [
        error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(resource)
    ]


def is_custom(resource: Resource) -> bool:
    return resource["kind"] in CUSTOM["kinds"]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_built_in_resources_fit_the_strict_schema_of_every_release(
    overlay: str, release: str
) -> None:
    built_in = [resource for resource in render(overlay) if not is_custom(resource)]
    checked = [
        kubernetes_validate.validate(resource, release, strict=True) for resource in built_in
    ]
    assert len(checked) == len(built_in) > 0


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_custom_resources_fit_their_schemas(overlay: str) -> None:
    custom = [resource for resource in render(overlay) if is_custom(resource)]
    assert [error for resource in custom for error in custom_resource_errors(resource)] == []


def test_a_misspelt_field_of_a_built_in_resource_is_refused() -> None:
    deployment = copy.deepcopy(named(render("dev"), "Deployment", "gateway"))
    deployment["spec"]["template"]["spec"]["terminationGracePeriod"] = 30
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, RELEASES[0], strict=True)


def test_an_interface_that_a_release_removed_is_refused() -> None:
    scaler = copy.deepcopy(named(render("embedded"), "HorizontalPodAutoscaler", "gateway"))
    scaler["apiVersion"] = "autoscaling/v2beta2"
    with pytest.raises(kubernetes_validate.SchemaNotFoundError):
        kubernetes_validate.validate(scaler, RELEASES[0], strict=True)


def test_a_misspelt_field_of_a_custom_resource_is_refused() -> None:
    monitor = copy.deepcopy(named(render("embedded"), "ServiceMonitor", "gateway"))
    monitor["spec"]["endpoints"][0]["targetport"] = 8000
    assert len(custom_resource_errors(monitor)) == 1


def test_every_custom_resource_in_the_overlays_has_a_schema_here() -> None:
    groups = ("monitoring.coreos.com", "keda.sh")
    kinds = {
        resource["kind"]
        for overlay in OVERLAYS
        for resource in render(overlay)
        if resource["apiVersion"].startswith(groups)
    }
    assert kinds <= CUSTOM["kinds"].keys()
    assert of_kind(render("triton-gpu-keda"), "ScaledObject")
