"""Every name in the manifests that the code, or Triton, owns is compared with its owner."""

from __future__ import annotations

import copy
import itertools
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from service.telemetry.metrics import Metrics
from tests.deploy import references
from tests.deploy.manifests import (
    APART_FROM_JOBS_MIB,
    OVERLAYS,
    PRODUCTION,
    ROOT,
    SUFFIX,
    TRITON,
    WITH_TRITON,
    Workload,
    mebibytes,
    memory_mib,
    named,
    needs_kubectl,
    of_kind,
    render,
    replicas,
    settings_of,
    strings,
    workloads,
)

pytestmark = needs_kubectl
Rule = Callable[[references.Resources], Iterator[str]]

SET_IMAGE: Final = re.compile(
    r"cd (\S+) && kustomize edit set image ([^\s=@]+)(?:=([^\s@]+))?@sha256:…"
)
SETTINGS: Final = {f"DISCERN_{name.upper()}" for name in Settings.model_fields}
GATEWAY_METRICS: Final = {metric.name for metric in Metrics().registry.collect()}
TRITON_METRICS: Final = {
    # https://github.com/triton-inference-server/server/blob/main/docs/user_guide/metrics.md
    "nv_inference_pending_request_count",
}
TRITON_PATHS: Final = {"/v2/health/live", "/v2/health/ready"}  # Open Inference Protocol
MARGIN_S: Final = 5


def workload(overlay: str, name: str) -> Workload:
    (found,) = (item for item in workloads(render(overlay)) if item.name == name)
    return found


def gateway_settings(overlay: str) -> Settings:
    given = settings_of(render(overlay), workload(overlay, "gateway"))
    fixed = {key: value for key, value in given.items() if value}
    return Settings(**{key.removeprefix("DISCERN_").lower(): value for key, value in fixed.items()})  # type: ignore[arg-type]  # pydantic parses the strings


def probe_paths(item: Workload) -> set[str]:
    kinds = ("startupProbe", "livenessProbe", "readinessProbe")
    return {item.pod["containers"][0][kind]["httpGet"]["path"] for kind in kinds}


def metric_names(text: str) -> set[str]:
    return set(re.findall(r"\b(?:segment|nv|http|backend|discern)_[a-z_]+\b", text))


def scaled_by(overlay: str) -> set[str]:
    scalers = of_kind(render(overlay), "HorizontalPodAutoscaler", "ScaledObject")
    return {
        name for item in scalers for text in strings(item["spec"]) for name in metric_names(text)
    }


def gateway_target(overlay: str) -> float:
    scalers = of_kind(render(overlay), "HorizontalPodAutoscaler", "ScaledObject")
    (spec,) = (item["spec"] for item in scalers if item["metadata"]["name"] == "gateway")
    if "triggers" in spec:
        return float(spec["triggers"][0]["metadata"]["threshold"])
    return float(spec["metrics"][0]["pods"]["target"]["averageValue"].removesuffix("m")) / 1000


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_variable_of_the_gateway_is_a_setting_with_a_value_it_accepts(overlay: str) -> None:
    given = settings_of(render(overlay), workload(overlay, "gateway"))
    assert given.keys() <= SETTINGS
    assert gateway_settings(overlay).drain_s > 0


@pytest.mark.parametrize("overlay", PRODUCTION)
def test_production_asks_for_keys_that_a_secret_brings(overlay: str) -> None:
    settings, gateway = gateway_settings(overlay), workload(overlay, "gateway")
    (volume,) = (item for item in gateway.pod["volumes"] if "secret" in item)
    mounts = {m["name"]: m["mountPath"] for m in gateway.pod["containers"][0]["volumeMounts"]}
    assert settings.allow_anonymous is False
    assert str(settings.api_keys_file) == f"{mounts[volume['name']]}/keys"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_gateways_port_is_the_one_it_listens_on(overlay: str) -> None:
    assert workload(overlay, "gateway").ports == {"http": Settings.model_fields["port"].default}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_probes_of_the_gateway_ask_for_life_and_readiness(overlay: str) -> None:
    assert probe_paths(workload(overlay, "gateway")) == {"/livez", "/readyz"}


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_the_gateway_serves_what_probes_and_prometheus_ask_without_a_key(
    path: str, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"caller sha256:{'0' * 64}\n", encoding="utf-8")
    with TestClient(create_app(Settings(api_keys_file=keys))) as client:
        assert client.get(path).status_code in {200, 503}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_request_fits_the_drain_and_the_drain_fits_the_grace_period(overlay: str) -> None:
    gateway, settings = workload(overlay, "gateway"), gateway_settings(overlay)
    pause = gateway.pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert settings.max_timeout_ms <= settings.drain_s * 1000
    ending_s = pause + settings.drain_notice_s + settings.drain_s + MARGIN_S
    assert gateway.pod["terminationGracePeriodSeconds"] >= ending_s


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_pause_before_the_end_is_longer_than_readiness_takes_to_fail(overlay: str) -> None:
    container = workload(overlay, "gateway").pod["containers"][0]
    probe = container["readinessProbe"]
    seen_s = probe["periodSeconds"] * probe["failureThreshold"]
    assert container["lifecycle"]["preStop"]["sleep"]["seconds"] > seen_s


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_disk_of_a_pod_holds_its_jobs_and_sqlites_journal_of_them(overlay: str) -> None:
    gateway, settings = workload(overlay, "gateway"), gateway_settings(overlay)
    (tmp,) = (volume for volume in gateway.pod["volumes"] if volume["name"] == "tmp")
    folder = mebibytes(tmp["emptyDir"]["sizeLimit"])
    assert folder >= 2 * settings.jobs_max_bytes / 2**20 + APART_FROM_JOBS_MIB
    limits = gateway.pod["containers"][0]["resources"]["limits"]
    assert mebibytes(limits["ephemeral-storage"]) > folder
    assert settings.max_job_bytes <= settings.jobs_max_bytes


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_memory_of_a_pod_holds_the_largest_images_in_every_slot(overlay: str) -> None:
    limits = workload(overlay, "gateway").pod["containers"][0]["resources"]["limits"]
    settings = gateway_settings(overlay).model_copy(update={"workers": int(limits["cpu"])})
    assert mebibytes(limits["memory"]) >= memory_mib(settings)


EDGES_EMBEDDED = {"default-deny", "gateway-from-clients", "gateway-from-prometheus"}
EDGES_TRITON = EDGES_EMBEDDED | {
    "gateway-to-triton", "gateway-to-dns", "triton-from-gateway", "triton-from-prometheus",
}  # fmt: skip


@pytest.mark.parametrize(
    ("overlay", "edges"),
    [("dev", EDGES_EMBEDDED), ("embedded", EDGES_EMBEDDED), ("triton-gpu", EDGES_TRITON),
     ("triton-gpu-image-volume", EDGES_TRITON), ("triton-gpu-keda", EDGES_TRITON)],
)  # fmt: skip
def test_traffic_has_exactly_the_edges_that_are_needed(overlay: str, edges: set[str]) -> None:
    names = [policy["metadata"]["name"] for policy in of_kind(render(overlay), "NetworkPolicy")]
    assert sorted(names) == sorted(edges)


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("rule", references.RULES, ids=lambda rule: rule.__name__)
def test_what_manifests_say_of_each_other_is_true(overlay: str, rule: Rule) -> None:
    assert list(rule(render(overlay))) == []


@pytest.mark.parametrize(
    ("kind", "name", "port", "rule"),
    [
        ("Service", TRITON, "targetPort: grpc", references.services_reach_pods),
        ("NetworkPolicy", "gateway-to-triton", "port: grpc", references.edges_end_in_ports),
        ("NetworkPolicy", "triton-from-prometheus", "port: metrics", references.edges_end_in_ports),
        ("ServiceMonitor", "gateway", "port: http", references.monitors_find_endpoints),
        ("PodMonitor", "triton", "port: metrics", references.monitors_find_endpoints),
    ],
)
def test_a_port_that_nobody_has_is_found(kind: str, name: str, port: str, rule: Rule) -> None:
    resources = copy.deepcopy(render("triton-gpu"))
    found = named(resources, kind, name)
    moved = yaml.safe_dump(found["spec"]).replace(port, port.split(":")[0] + ": nowhere")
    found["spec"] = yaml.safe_load(moved)
    assert len(list(rule(resources))) == 1


@pytest.mark.parametrize("overlay", PRODUCTION)
def test_a_pod_whose_image_is_still_on_its_way_is_not_scraped_and_so_not_down(overlay: str) -> None:
    dropped = {"action": "drop", "sourceLabels": ["__meta_kubernetes_pod_phase"]}
    monitors = of_kind(render(overlay), "ServiceMonitor", "PodMonitor")
    for monitor in monitors:
        (end,) = monitor["spec"].get("endpoints") or monitor["spec"]["podMetricsEndpoints"]
        assert end["relabelings"] == [{**dropped, "regex": "Pending"}]
    assert len(monitors) == (2 if overlay in WITH_TRITON else 1)


@pytest.mark.parametrize("overlay", PRODUCTION)
def test_scalers_count_what_the_gateway_and_triton_report(overlay: str) -> None:
    assert {"segment_inflight_requests", "segment_queue_depth"} <= scaled_by(overlay)
    assert scaled_by(overlay) <= GATEWAY_METRICS | TRITON_METRICS


@pytest.mark.parametrize("overlay", PRODUCTION)
def test_a_gateway_is_added_before_its_slots_are_full(overlay: str) -> None:
    cores = workload(overlay, "gateway").pod["containers"][0]["resources"]["limits"]["cpu"]
    settings = gateway_settings(overlay).model_copy(update={"workers": int(cores)})
    assert 0.5 <= gateway_target(overlay) / settings.in_flight_limit() < 1


def test_the_adapter_offers_every_metric_that_a_scaler_asks_for() -> None:
    text = (ROOT / "k8s/prometheus-adapter/values.yaml").read_text(encoding="utf-8")
    offered = {
        name
        for rule in yaml.safe_load(text)["rules"]["custom"]
        for name in metric_names(rule["seriesQuery"])
    }
    asked = {
        metric["pods"]["metric"]["name"]
        for scaler in of_kind(render("triton-gpu"), "HorizontalPodAutoscaler")
        for metric in scaler["spec"]["metrics"]
    }
    assert asked == offered <= GATEWAY_METRICS | TRITON_METRICS


@pytest.mark.parametrize("overlay", WITH_TRITON)
def test_triton_listens_where_its_ports_and_probes_say(overlay: str) -> None:
    triton = workload(overlay, TRITON)
    arguments = dict(
        argument.removeprefix("--").split("=") for argument in triton.pod["containers"][0]["args"]
    )
    assert triton.ports == {
        name: int(arguments[f"{name}-port"]) for name in ("http", "grpc", "metrics")
    }
    assert probe_paths(triton) == TRITON_PATHS


@pytest.mark.parametrize("overlay", WITH_TRITON)
def test_the_gateway_calls_triton_by_its_headless_service(overlay: str) -> None:
    service = named(render(overlay), "Service", TRITON)
    (port,) = (port["port"] for port in service["spec"]["ports"] if port["name"] == "grpc")
    assert service["spec"]["clusterIP"] == "None"
    assert gateway_settings(overlay).triton_url == f"{TRITON}:{port}"


@pytest.mark.parametrize("overlay", WITH_TRITON)
def test_tritons_grace_period_holds_its_pause_and_its_exit(overlay: str) -> None:
    triton = workload(overlay, TRITON)
    container = triton.pod["containers"][0]
    (exit_s,) = (
        int(a.split("=")[1]) for a in container["args"] if a.startswith("--exit-timeout-secs=")
    )
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert triton.pod["terminationGracePeriodSeconds"] >= pause + exit_s + MARGIN_S
    assert exit_s * 1000 >= gateway_settings(overlay).max_timeout_ms


@pytest.mark.parametrize("overlay", WITH_TRITON)
def test_triton_and_its_service_select_no_triton_of_other_models(overlay: str) -> None:
    deployment = named(render(overlay), "Deployment", TRITON)
    service = named(render(overlay), "Service", TRITON)
    models = {"discern/models": SUFFIX.removeprefix("-")}
    assert models.items() <= deployment["spec"]["selector"]["matchLabels"].items()
    assert models.items() <= service["spec"]["selector"].items()


def test_models_by_image_volume_come_from_the_gateways_image_and_are_compared() -> None:
    triton = workload("triton-gpu-image-volume", TRITON)
    (init,) = triton.pod["initContainers"]
    volumes = {volume["name"]: volume for volume in triton.pod["volumes"]}
    mounts = [c["volumeMounts"] for c in triton.containers]
    assert volumes["models"]["image"]["reference"] == init["image"]
    assert "sha256sum --check" in init["args"][0]
    assert {
        (mount["subPath"], mount["mountPath"], mount["readOnly"])
        for mount in itertools.chain(*mounts)
        if mount["name"] == "models"
    } == {("models", "/models", True)}


def render_with_image(tmp_path: Path, overlay: str, name: str, new: str) -> str:
    """Do to a copy of the manifests what ``kustomize edit set image`` does, and render it."""
    shutil.copytree(ROOT / "k8s", tmp_path / "k8s")
    shutil.copytree(ROOT / "monitoring", tmp_path / "monitoring")
    with (tmp_path / overlay / "kustomization.yaml").open("a", encoding="utf-8") as file:
        file.write(f"images: [{{name: {name}, newName: {new}, newTag: '9'}}]\n")
    command = ["kubectl", "kustomize", str(tmp_path / overlay)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_an_image_set_in_an_overlay_reaches_the_volume_too(tmp_path: Path) -> None:
    overlay, new = "k8s/overlays/triton-gpu-image-volume", "registry.example/discern"
    text = render_with_image(tmp_path, overlay, "discern", new)
    assert set(re.findall(r"(?:image|reference): (\S*discern\S*)", text)) == {f"{new}:9"}


@pytest.mark.parametrize("number", [0, 1])
def test_an_image_set_as_the_page_says_is_the_one_that_runs(tmp_path: Path, number: int) -> None:
    commands = SET_IMAGE.findall((ROOT / "docs/DEPLOY.md").read_text(encoding="utf-8"))
    assert len(commands) == 2
    overlay, name, new = commands[number]
    text = render_with_image(tmp_path, overlay, name, new or name)
    assert f"image: {new or name}:9\n" in text


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_release_is_the_projects_version(overlay: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (image,) = {
        container["image"]
        for item in workloads(render(overlay))
        for container in item.containers
        if "discern" in container["image"]
    }
    versions = {r["metadata"]["labels"]["app.kubernetes.io/version"] for r in render(overlay)}
    assert (image, versions) == (f"discern:{project['version']}", {project["version"]})


@pytest.mark.parametrize("overlay", PRODUCTION)
def test_production_never_runs_a_single_pod(overlay: str) -> None:
    assert min(replicas(render(overlay), item) for item in workloads(render(overlay))) >= 2
