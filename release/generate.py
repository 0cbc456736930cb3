"""Writes the parts of k8s/ that are made from other files, so that nothing is written down twice.

* ``k8s/triton/SHA256SUMS`` from model_repository/: what Triton's models must be.
* ``k8s/triton/kustomization.yaml``: Triton, named for its models, so that other models are another
  Triton, and no gateway ever asks one that has not the models it was released with.
* ``k8s/components/monitoring/prometheus-rule.yaml`` from monitoring/prometheus/rules/.

``make manifests`` runs it; a test fails when its result and the tree differ.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import yaml

ROOT: Final = Path(__file__).resolve().parent.parent
SUMS: Final = Path("k8s/triton/SHA256SUMS")
TRITON: Final = Path("k8s/triton/kustomization.yaml")
RULE: Final = Path("k8s/components/monitoring/prometheus-rule.yaml")


def model_sums(root: Path) -> str:
    """Return the checksum of every file that Triton reads, as ``sha256sum --check`` reads it."""
    models = root / "model_repository"
    files = sorted([*models.glob("*/config.pbtxt"), *models.glob("*/[0-9]*/*")])
    lines = (
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(models).as_posix()}\n"
        for path in files
    )
    return "".join(lines)


def triton(sums: str) -> str:
    """Return the kustomization that names Triton for models with these checksums."""
    # A letter in front: every reader of YAML takes it for text, digits that follow or not.
    models = f"m{hashlib.sha256(sums.encode()).hexdigest()[:8]}"
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["triton.yaml"],
        "nameSuffix": f"-{models}",
        "labels": [{"pairs": {"discern/models": models}, "includeSelectors": True}],
        "configMapGenerator": [{"name": "model-checksums", "files": ["SHA256SUMS"]}],
    }
    heading = "# Made by `make manifests`; the suffix is the checksum of SHA256SUMS, shortened.\n"
    return heading + yaml.safe_dump(kustomization, sort_keys=False, width=100)


def prometheus_rule(root: Path) -> str:
    """Return the rule files as one PrometheusRule for the Prometheus operator."""
    groups = [
        group
        for path in sorted((root / "monitoring/prometheus/rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    ]
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "discern",
            "labels": {
                "app.kubernetes.io/name": "discern",
                "app.kubernetes.io/component": "monitoring",
            },
        },
        "spec": {"groups": groups},
    }
    heading = "# Made from monitoring/prometheus/rules/ by `make manifests`; edit those.\n"
    return heading + yaml.safe_dump(resource, sort_keys=False, width=100)


def main() -> None:
    """Write every file."""
    sums = model_sums(ROOT)
    for path, text in ((SUMS, sums), (TRITON, triton(sums)), (RULE, prometheus_rule(ROOT))):
        (ROOT / path).write_text(text, encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
