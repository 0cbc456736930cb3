"""What the deployment tests read: rendered overlays and the parts of them that rules speak of."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from service.settings import Settings

Resource = dict[str, Any]

ROOT: Final = Path(__file__).resolve().parents[2]
OVERLAYS: Final = tuple(
    sorted(path.parent.name for path in ROOT.glob("k8s/overlays/*/kustomization.yaml"))
)
PRODUCTION: Final = tuple(overlay for overlay in OVERLAYS if overlay != "dev")
WITH_TRITON: Final = tuple(overlay for overlay in OVERLAYS if overlay.startswith("triton"))
SUFFIX: Final[str] = yaml.safe_load((ROOT / "k8s/triton/kustomization.yaml").read_text("utf-8"))[
    "nameSuffix"
]
TRITON: Final = f"triton{SUFFIX}"
"""Triton's Deployment and Service, named for their models."""

APART_FROM_JOBS_MIB: Final = 128
"""Room in ``/tmp`` for compiled kernels and the rest."""

PROCESS_MIB: Final = 400
"""A gateway with the shipped models that has not been asked anything yet."""

BYTES_OF_A_PIXEL: Final = 20
"""At the peak of a request, whose image holds many objects and whose answer is polygons."""

needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl is not installed: overlays cannot be rendered"
)


@cache
def render(overlay: str) -> tuple[Resource, ...]:
    """Return the resources that ``kubectl apply -k`` would send."""
    command = ["kubectl", "kustomize", str(ROOT / "k8s/overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(resources: tuple[Resource, ...], *kinds: str) -> list[Resource]:
    """Return the resources of these kinds."""
    return [resource for resource in resources if resource["kind"] in kinds]


def named(resources: tuple[Resource, ...], kind: str, name: str) -> Resource:
    """Return the one resource of this kind and name."""
    (found,) = (item for item in of_kind(resources, kind) if item["metadata"]["name"] == name)
    return found


@dataclass(frozen=True)
class Workload:
    """A Deployment and what its pods are."""

    name: str
    spec: Resource

    @property
    def pod(self) -> Resource:
        """The specification of its pods."""
        pod: Resource = self.spec["template"]["spec"]
        return pod

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its pods."""
        labels: dict[str, str] = self.spec["template"]["metadata"]["labels"]
        return labels

    @property
    def containers(self) -> list[Resource]:
        """Every container of its pods, those that run first too."""
        return [*self.pod.get("initContainers", []), *self.pod["containers"]]

    @property
    def ports(self) -> dict[str, int]:
        """The named ports of its pods."""
        return {
            port["name"]: port["containerPort"]
            for container in self.containers
            for port in container.get("ports", [])
        }

    def selected_by(self, selector: dict[str, str]) -> bool:
        """Return whether a selector (``matchLabels``) takes its pods."""
        return selector.items() <= self.labels.items()


def workloads(resources: tuple[Resource, ...]) -> list[Workload]:
    """Return every Deployment."""
    return [
        Workload(deployment["metadata"]["name"], deployment["spec"])
        for deployment in of_kind(resources, "Deployment")
    ]


def replicas(resources: tuple[Resource, ...], workload: Workload) -> int:
    """Return the fewest pods that a workload is asked to have."""
    for scaler in of_kind(resources, "HorizontalPodAutoscaler", "ScaledObject"):
        if scaler["spec"]["scaleTargetRef"]["name"] == workload.name:
            least: int = scaler["spec"].get("minReplicas") or scaler["spec"]["minReplicaCount"]
            return least
    return int(workload.spec.get("replicas", 1))


def settings_of(resources: tuple[Resource, ...], workload: Workload) -> dict[str, str]:
    """Return the environment that its first container gets from ConfigMaps and plain values."""
    (container, *_) = workload.pod["containers"]
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= named(resources, "ConfigMap", source["configMapRef"]["name"])["data"]
    return found | {entry["name"]: entry.get("value", "") for entry in container.get("env", [])}


def memory_mib(settings: Settings) -> float:
    """Return what a gateway needs while every slot works on the largest image there may be."""
    images = settings.in_flight_limit() * settings.max_image_pixels * BYTES_OF_A_PIXEL
    kept = settings.embedding_cache_bytes + settings.max_queue_bytes
    return PROCESS_MIB + (images + kept) / 2**20


def mebibytes(text: str) -> int:
    """Read a size as Kubernetes (``640Mi``) or Compose (``640m``) writes it."""
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi|m|g)", text).groups()  # type: ignore[union-attr]  # fails the test
    return int(number) * (1024 if unit in {"Gi", "g"} else 1)


def strings(value: object) -> Iterator[str]:
    """Yield every string in a tree of lists and mappings, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
