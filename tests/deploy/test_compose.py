from __future__ import annotations

import re
import subprocess
import sys
from typing import Any, Final

import pytest
import yaml

from service.settings import Settings
from tests.deploy.manifests import APART_FROM_JOBS_MIB, ROOT, mebibytes, memory_mib

FILE: Final = ROOT / "docker-compose.yml"
COMPOSE: Final[dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
PROFILES: Final = ("cpu", "gpu", "embedded")
GATEWAYS: Final = ("gateway", "gateway-embedded")
PROMETHEUS: Final = yaml.safe_load(
    (ROOT / "monitoring/prometheus/prometheus.yml").read_text(encoding="utf-8")
)
SETTINGS: Final = {f"DISCERN_{name.upper()}" for name in Settings.model_fields}
IMAGE: Final = re.compile(r"^(\$\{\w+:-)?[\w./-]+:(?!latest)[\w.-]+(@sha256:[0-9a-f]{64})?\}?$")


def in_profile(profile: str) -> dict[str, dict[str, Any]]:
    return {name: item for name, item in SERVICES.items() if profile in item["profiles"]}


def reachable_names(profile: str) -> set[str]:
    aliases = [item.get("networks", {}).get("default", {}) for item in in_profile(profile).values()]
    return {name for alias in aliases for name in alias.get("aliases", [])} | in_profile(
        profile
    ).keys()


def settings_of(name: str) -> Settings:
    given = {
        key.removeprefix("DISCERN_").lower(): v for key, v in SERVICES[name]["environment"].items()
    }
    return Settings(**given)


def host_paths(name: str) -> list[str]:
    mounts = [volume.split(":")[0] for volume in SERVICES[name].get("volumes", [])]
    return [mount for mount in mounts if mount.startswith(".")]


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def test_the_file_fits_the_compose_specification() -> None:
    command = ["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", GATEWAYS)
def test_every_variable_of_a_gateway_is_a_setting_with_a_value_it_accepts(name: str) -> None:
    assert SERVICES[name]["environment"].keys() <= SETTINGS
    assert settings_of(name).drain_s > 0


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_request_fits_the_drain_and_the_drain_fits_the_grace_period(name: str) -> None:
    settings = settings_of(name)
    assert settings.max_timeout_ms <= settings.drain_s * 1000
    assert seconds(SERVICES[name]["stop_grace_period"]) >= settings.drain_s + 5


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_gateway_has_as_many_threads_as_cores_on_any_host(name: str) -> None:
    settings, limits = settings_of(name), SERVICES[name]["deploy"]["resources"]["limits"]
    assert str(settings.workers) == str(settings.inference_threads) == limits["cpus"]


@pytest.mark.parametrize("name", GATEWAYS)
def test_the_memory_of_a_gateway_holds_jobs_and_the_largest_images_in_every_slot(name: str) -> None:
    (tmpfs,) = SERVICES[name]["tmpfs"]
    jobs = 2 * settings_of(name).jobs_max_bytes / 2**20
    assert mebibytes(re.findall(r"size=(\w+)", tmpfs)[0]) >= jobs + APART_FROM_JOBS_MIB
    memory = SERVICES[name]["deploy"]["resources"]["limits"]["memory"]
    assert mebibytes(memory) >= memory_mib(settings_of(name)) + jobs
    assert settings_of(name).max_job_bytes <= settings_of(name).jobs_max_bytes


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_the_gateway_finds_triton_and_waits_for_it(profile: str) -> None:
    host, port = settings_of("gateway").triton_url.split(":")
    waits = SERVICES["gateway"]["depends_on"][f"triton-{profile}"]
    assert (host in reachable_names(profile), port) == (True, "8001")
    assert waits == {"condition": "service_healthy", "required": False}


def test_the_embedded_profile_is_the_gateway_alone() -> None:
    assert list(in_profile("embedded")) == ["gateway-embedded"]
    assert settings_of("gateway-embedded").triton_url == ""


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_prometheus_scrapes_what_is_there(profile: str) -> None:
    targets = [
        target.split(":")[0]
        for job in PROMETHEUS["scrape_configs"]
        for static in job["static_configs"]
        for target in static["targets"]
    ]
    assert set(targets) <= reachable_names(profile) | {"127.0.0.1"}


@pytest.mark.parametrize("profile", PROFILES)
def test_no_two_services_of_a_profile_publish_the_same_port(profile: str) -> None:
    published = [port for item in in_profile(profile).values() for port in item.get("ports", [])]
    assert len(published) == len(set(published)) > 0


@pytest.mark.parametrize("name", SERVICES)
def test_everything_is_published_on_loopback_only(name: str) -> None:
    ports = SERVICES[name].get("ports", [])
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_confined_and_bounded(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_names_a_version(name: str) -> None:
    assert IMAGE.match(SERVICES[name]["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_every_file_that_is_mounted_is_in_the_tree(name: str) -> None:
    assert [path for path in host_paths(name) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", SERVICES)
def test_what_others_wait_for_has_a_health_check(name: str) -> None:
    waited = [SERVICES[other] for other in SERVICES[name].get("depends_on", {})]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert [w["image"] for w in waited if "healthcheck" not in w and "build" not in w] == []
    assert "HEALTHCHECK" in dockerfile


def test_dashboards_are_mounted_where_grafana_is_told_to_look() -> None:
    path = ROOT / "monitoring/grafana/provisioning/dashboards/discern.yaml"
    folder = yaml.safe_load(path.read_text(encoding="utf-8"))["providers"][0]["options"]["path"]
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"])
    assert mounts["./monitoring/grafana/dashboards"] == folder


def test_the_image_carries_the_projects_version() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert (
        SERVICES["gateway"]["image"] == "discern:" + re.findall(r'^version = "(.+)"', text, re.M)[0]
    )
