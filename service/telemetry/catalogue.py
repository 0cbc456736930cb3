"""What `Metrics` exports, as a list: for the documentation's table and the dashboards' tests."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase

from service.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Exported:
    """One metric.

    Parameters
    ----------
    name : str
        As it is scraped; of a histogram the part before ``_bucket``, ``_sum`` and ``_count``.
    kind : str
        ``counter``, ``gauge`` or ``histogram``.
    labels : tuple of str
        Names of its labels.
    text : str
        What it counts.
    buckets : tuple of float
        Upper bounds of a histogram's buckets, empty for the others.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str
    buckets: tuple[float, ...] = ()

    def series(self) -> dict[str, tuple[str, ...]]:
        """Return the labels of every series that is scraped, by its name."""
        if self.kind != "histogram":
            return {self.name: self.labels}
        return {
            f"{self.name}_bucket": (*self.labels, "le"),
            f"{self.name}_sum": self.labels,
            f"{self.name}_count": self.labels,
        }


def catalogue() -> list[Exported]:
    """Return every metric of the gateway, in the order of its definition."""
    own = (value for value in vars(Metrics()).values() if isinstance(value, MetricWrapperBase))
    return [_exported(metric) for metric in own]


def _exported(metric: MetricWrapperBase) -> Exported:
    (family,) = metric.describe()
    labels = tuple(metric._labelnames)  # the library keeps them to itself
    if isinstance(metric, Histogram):
        bounds = tuple(metric._upper_bounds[:-1])
        return Exported(family.name, "histogram", labels, family.documentation, bounds)
    name = f"{family.name}_total" if isinstance(metric, Counter) else family.name
    return Exported(name, family.type, labels, family.documentation)
