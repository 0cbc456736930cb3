from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest

from tests.deploy import policy
from tests.deploy.manifests import OVERLAYS, Resource, named, needs_kubectl, render

pytestmark = needs_kubectl
Rule = Callable[[policy.Resources], Iterator[str]]


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("rule", policy.RULES, ids=lambda rule: rule.__name__)
def test_every_overlay_keeps_every_rule(overlay: str, rule: Rule) -> None:
    assert list(rule(render(overlay))) == []


def _root(pod: Resource) -> None:
    pod["securityContext"]["runAsUser"] = 0


def _host_path(pod: Resource) -> None:
    pod["volumes"][0] = {"name": "tmp", "hostPath": {"path": "/tmp"}}  # noqa: S108  # planted


def _token(pod: Resource) -> None:
    del pod["automountServiceAccountToken"]


def _capability(pod: Resource) -> None:
    pod["containers"][0]["securityContext"]["capabilities"]["add"] = ["SYS_ADMIN"]


def _writable(pod: Resource) -> None:
    pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] = False


def _unbounded(pod: Resource) -> None:
    del pod["containers"][0]["resources"]["limits"]["memory"]


def _latest(pod: Resource) -> None:
    pod["containers"][0]["image"] = "discern:latest"


def _untagged(pod: Resource) -> None:
    pod["containers"][0]["image"] = "discern"


def _same_probe(pod: Resource) -> None:
    pod["containers"][0]["livenessProbe"] = pod["containers"][0]["readinessProbe"]


def _wrong_port(pod: Resource) -> None:
    pod["containers"][0]["livenessProbe"]["httpGet"]["port"] = "metrics"


def _secret_in_environment(pod: Resource) -> None:
    reference = {"secretKeyRef": {"name": "keys", "key": "key"}}
    pod["containers"][0]["env"].append({"name": "KEY", "valueFrom": reference})


@pytest.mark.parametrize(
    ("plant", "rule"),
    [
        (_root, policy.pods_are_restricted),
        (_host_path, policy.pods_leave_the_node_alone),
        (_token, policy.pods_are_restricted),
        (_capability, policy.containers_are_restricted),
        (_writable, policy.containers_are_restricted),
        (_unbounded, policy.containers_are_bounded),
        (_latest, policy.images_are_pinned),
        (_untagged, policy.images_are_pinned),
        (_same_probe, policy.servers_are_probed),
        (_wrong_port, policy.servers_are_probed),
        (_secret_in_environment, policy.secrets_are_references),
    ],
)
def test_a_planted_fault_of_a_pod_is_found(plant: Callable[[Resource], None], rule: Rule) -> None:
    resources = copy.deepcopy(render("dev"))
    plant(named(resources, "Deployment", "gateway")["spec"]["template"]["spec"])
    assert len(list(rule(resources))) == 1


def test_a_budget_that_lets_no_pod_go_is_found() -> None:
    resources = copy.deepcopy(render("embedded"))
    budget = named(resources, "PodDisruptionBudget", "gateway")["spec"]
    del budget["maxUnavailable"]
    budget["minAvailable"] = 2
    assert list(policy.budgets_let_nodes_drain(resources)) == ["gateway: its budget lets no pod go"]
