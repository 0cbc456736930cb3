"""What one manifest says of another must be true. Each rule yields one sentence per breach."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.deploy.manifests import Resource, Workload, of_kind, workloads

Resources = tuple[Resource, ...]


def services_reach_pods(resources: Resources) -> Iterator[str]:
    """A Service selects the pods of one workload, and its ports are theirs."""
    for service in of_kind(resources, "Service"):
        name, spec = service["metadata"]["name"], service["spec"]
        ports = _ports_behind(resources, spec["selector"])
        for port in spec["ports"]:
            if port["targetPort"] not in ports:
                yield f"Service {name}: nobody listens on {port['targetPort']}"


def edges_end_in_ports(resources: Resources) -> Iterator[str]:
    """A NetworkPolicy opens a port that the receiving end has."""
    for policy in of_kind(resources, "NetworkPolicy"):
        name, spec = policy["metadata"]["name"], policy["spec"]
        receivers = [(spec["podSelector"], rule["ports"]) for rule in spec.get("ingress", [])]
        receivers += [
            (peer["podSelector"], rule["ports"])
            for rule in spec.get("egress", [])
            for peer in rule["to"]
            if "namespaceSelector" not in peer
        ]
        for selector, ports in receivers:
            known = _ports_behind(resources, selector["matchLabels"])
            for port in ports:
                if port["port"] not in known:
                    yield f"NetworkPolicy {name}: nobody listens on {port['port']}"


def mounts_exist(resources: Resources) -> Iterator[str]:
    """What a container mounts is a volume of its pod, and every volume is mounted."""
    for workload in workloads(resources):
        volumes = {volume["name"] for volume in workload.pod.get("volumes", [])}
        mounts = {m["name"] for c in workload.containers for m in c.get("volumeMounts", [])}
        for name in volumes ^ mounts:
            yield f"{workload.name}: volume {name} is only half there"


def config_maps_exist(resources: Resources) -> Iterator[str]:
    """What a pod takes its settings or files from is part of the manifests."""
    known = {item["metadata"]["name"] for item in of_kind(resources, "ConfigMap")}
    for workload in workloads(resources):
        used = [v["configMap"] for v in workload.pod.get("volumes", []) if "configMap" in v]
        used += [s["configMapRef"] for c in workload.containers for s in c.get("envFrom", [])]
        for reference in used:
            if reference["name"] not in known:
                yield f"{workload.name}: no ConfigMap {reference['name']}"


def scalers_have_targets(resources: Resources) -> Iterator[str]:
    """A scaler changes a workload that exists, and that fixes no number of its own."""
    known = {workload.name: workload for workload in workloads(resources)}
    for scaler in of_kind(resources, "HorizontalPodAutoscaler", "ScaledObject"):
        target = scaler["spec"]["scaleTargetRef"]["name"]
        if target not in known or "replicas" in known[target].spec:
            yield f"{scaler['kind']} {scaler['metadata']['name']}: cannot scale {target}"


def monitors_find_endpoints(resources: Resources) -> Iterator[str]:
    """A monitor selects a Service, or pods, that have the port it names."""
    services = of_kind(resources, "Service")
    for monitor in of_kind(resources, "ServiceMonitor"):
        labels = monitor["spec"]["selector"]["matchLabels"].items()
        found = [s for s in services if labels <= s["metadata"]["labels"].items()]
        ports = {port["name"] for service in found for port in service["spec"]["ports"]}
        yield from _unknown_ports(monitor, monitor["spec"]["endpoints"], ports)
    for monitor in of_kind(resources, "PodMonitor"):
        behind = _ports_behind(resources, monitor["spec"]["selector"]["matchLabels"])
        yield from _unknown_ports(monitor, monitor["spec"]["podMetricsEndpoints"], behind)


RULES: Final[tuple[Callable[[Resources], Iterator[str]], ...]] = (
    services_reach_pods,
    edges_end_in_ports,
    mounts_exist,
    config_maps_exist,
    scalers_have_targets,
    monitors_find_endpoints,
)


def _unknown_ports(monitor: Resource, ends: list[dict[str, Any]], ports: set[str]) -> Iterator[str]:
    for end in ends:
        if end["port"] not in ports:
            yield f"{monitor['kind']} {monitor['metadata']['name']}: no port {end['port']}"


def _ports_behind(resources: Resources, selector: dict[str, str]) -> set[str]:
    chosen: list[Workload] = [w for w in workloads(resources) if w.selected_by(selector)]
    return {name for workload in chosen for name in workload.ports}
