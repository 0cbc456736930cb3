"""What every manifest must keep. Each rule yields one sentence per breach.

The pod rules are the Pod Security Standard "restricted",
https://kubernetes.io/docs/concepts/security/pod-security-standards/.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from tests.deploy.manifests import Resource, Workload, of_kind, replicas, workloads

Resources = tuple[Resource, ...]

PROBES: Final = ("startupProbe", "livenessProbe", "readinessProbe")
LABELS: Final = ("name", "instance", "version", "component", "part-of", "managed-by")
VOLUMES: Final = frozenset({
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim",
    "projected", "secret",
})  # fmt: skip
"""What the standard allows; ``image`` since 1.33 (kubernetes/kubernetes#130394)."""
IMAGE: Final = re.compile(r"^[\w./-]+:(?!latest)[\w.-]+(@sha256:[0-9a-f]{64})?$")


def pods_are_restricted(resources: Resources) -> Iterator[str]:
    """Pods run as somebody, confined, and know no way to the API server."""
    for workload in workloads(resources):
        pod, context = workload.pod, workload.pod.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or context.get("runAsUser", 0) == 0:
            yield f"{workload.name}: may run as root"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{workload.name}: no seccomp profile"
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{workload.name}: carries a token for the API server"


def pods_leave_the_node_alone(resources: Resources) -> Iterator[str]:
    """Pods share no namespace with their node, and mount none of its folders."""
    for workload in workloads(resources):
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if workload.pod.get(field):
                yield f"{workload.name}: {field}"
        for volume in workload.pod.get("volumes", []):
            if not VOLUMES & volume.keys():
                yield f"{workload.name}: volume {volume['name']} is of a forbidden kind"


def containers_are_restricted(resources: Resources) -> Iterator[str]:
    """Containers give up every privilege and cannot change their own files."""
    for workload, container in _containers(resources):
        where, context = f"{workload.name}/{container['name']}", container["securityContext"]
        if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
            yield f"{where}: may gain privileges"
        if context.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{where}: keeps capabilities"
        if context.get("readOnlyRootFilesystem") is not True:
            yield f"{where}: may write to its root file system"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield f"{where}: takes a port of the node"


def containers_are_bounded(resources: Resources) -> Iterator[str]:
    """Every container asks for cpu, memory and disk, and has a limit for each."""
    for workload, container in _containers(resources):
        for side in ("requests", "limits"):
            given = container.get("resources", {}).get(side, {})
            for missing in {"cpu", "memory", "ephemeral-storage"} - given.keys():
                yield f"{workload.name}/{container['name']}: no {side}.{missing}"


def images_are_pinned(resources: Resources) -> Iterator[str]:
    """Every image names a version, never latest."""
    for workload, container in _containers(resources):
        if not IMAGE.match(container["image"]):
            yield f"{workload.name}/{container['name']}: image {container['image']}"


def servers_are_probed(resources: Resources) -> Iterator[str]:
    """Every server has its three probes, on ports it has; liveness and readiness differ."""
    for workload in workloads(resources):
        for container in workload.pod["containers"]:
            probes = [container.get(kind) for kind in PROBES]
            if None in probes:
                yield f"{workload.name}: a probe is missing"
                continue
            if probes[1]["httpGet"]["path"] == probes[2]["httpGet"]["path"]:
                yield f"{workload.name}: liveness asks what readiness asks"
            for probe in probes:
                if probe["httpGet"]["port"] not in workload.ports:
                    yield f"{workload.name}: a probe asks an unknown port"


def resources_are_labelled(resources: Resources) -> Iterator[str]:
    """Everything carries the recommended labels; what serves no one component, fewer."""
    wide = {"Namespace", "PriorityClass", "ConfigMap", "NetworkPolicy"}
    for resource in resources:
        labels = resource["metadata"].get("labels", {})
        for label in LABELS:
            if label in {"name", "component"} and resource["kind"] in wide:
                continue
            if f"app.kubernetes.io/{label}" not in labels:
                yield f"{resource['kind']} {resource['metadata']['name']}: no label {label}"


def budgets_let_nodes_drain(resources: Resources) -> Iterator[str]:
    """Every workload has one disruption budget, and it lets at least one pod go."""
    budgets = of_kind(resources, "PodDisruptionBudget")
    for workload in workloads(resources):
        own = [b for b in budgets if workload.selected_by(b["spec"]["selector"]["matchLabels"])]
        if len(own) != 1:
            yield f"{workload.name}: {len(own)} disruption budgets"
            continue
        spec = own[0]["spec"]
        least = replicas(resources, workload)
        if least - spec.get("minAvailable", least - spec.get("maxUnavailable", 0)) < 1:
            yield f"{workload.name}: its budget lets no pod go"


def rollouts_keep_capacity(resources: Resources) -> Iterator[str]:
    """A new pod is ready before an old one goes, and pods spread over nodes and zones."""
    for workload in workloads(resources):
        if workload.spec.get("strategy", {}).get("rollingUpdate", {}).get("maxUnavailable") != 0:
            yield f"{workload.name}: a rollout takes capacity away"
        spread = {rule["topologyKey"] for rule in workload.pod.get("topologySpreadConstraints", [])}
        if spread != {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}:
            yield f"{workload.name}: is not spread over nodes and zones"


def secrets_are_references(resources: Resources) -> Iterator[str]:
    """No manifest carries a secret, and none is put into an environment."""
    for resource in of_kind(resources, "Secret"):
        yield f"Secret {resource['metadata']['name']} is part of the manifests"
    for workload, container in _containers(resources):
        for entry in container.get("env", []):
            if "secretKeyRef" in entry.get("valueFrom", {}):
                yield f"{workload.name}: {entry['name']} would show in the environment"


def namespace_enforces_restricted(resources: Resources) -> Iterator[str]:
    """The namespace holds others to the same standard, and denies all traffic by default."""
    for namespace in of_kind(resources, "Namespace"):
        labels = namespace["metadata"]["labels"]
        if labels.get("pod-security.kubernetes.io/enforce") != "restricted":
            yield "the namespace does not enforce the restricted profile"
    everything = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    if everything not in [policy["spec"] for policy in of_kind(resources, "NetworkPolicy")]:
        yield "traffic is not denied by default"


RULES: Final[tuple[Callable[[Resources], Iterator[str]], ...]] = (
    pods_are_restricted,
    pods_leave_the_node_alone,
    containers_are_restricted,
    containers_are_bounded,
    images_are_pinned,
    servers_are_probed,
    resources_are_labelled,
    budgets_let_nodes_drain,
    rollouts_keep_capacity,
    secrets_are_references,
    namespace_enforces_restricted,
)


def _containers(resources: Resources) -> Iterator[tuple[Workload, Resource]]:
    for workload in workloads(resources):
        for container in workload.containers:
            yield workload, container
