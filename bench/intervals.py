"""Intervals for shares whose observations come in clusters.

Attacks that share a goal succeed or fail together, and so do the calls of one task: 609 attacks with 26 goals are far
fewer than 609 independent observations. The share of a clustered sample gets a Wilson interval at its *effective*
size: n divided by the design effect, which is the variance of the ratio estimator between clusters over the binomial
variance (Kish 1965, Survey Sampling, section 5.4), never below 1 and never so large that fewer observations than
clusters remain. When nothing (or everything) happened, the variance between clusters says nothing, so each cluster
counts as one observation and the exact bound 1 − 0.05^(1/clusters) holds, which is the "rule of three". No interval
ends nearer to nothing (or to everything) than that bound.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from math import sqrt

METHOD = (
    "95 %, Wilson at the effective sample size (n over the design effect between clusters); "
    "for 0 or n of n, the exact one-sided bound over clusters"
)
Z = 1.959963984540054
"""97.5 % point of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Share:
    """k of n, with its interval."""

    k: int
    n: int
    clusters: int
    """Groups that the observations come in."""
    low: float
    """Lower end, 0 to 1."""
    high: float
    """Upper end, 0 to 1."""

    def as_dict(self) -> dict[str, float | int]:
        """For JSON."""
        return {
            "k": self.k,
            "n": self.n,
            "clusters": self.clusters,
            "low": round(self.low, 4),
            "high": round(self.high, 4),
        }


def share(observations: Iterable[tuple[Hashable, bool]]) -> Share:
    """The share of true among (cluster, outcome) pairs. Nothing observed is 0 of 0 with the interval 0 to 1."""
    totals: dict[Hashable, list[int]] = {}
    for cluster, outcome in observations:
        counts = totals.setdefault(cluster, [0, 0])
        counts[0] += outcome
        counts[1] += 1
    k, n, m = sum(c[0] for c in totals.values()), sum(c[1] for c in totals.values()), len(totals)
    if n == 0:
        return Share(0, 0, 0, 0.0, 1.0)
    if k in (0, n):
        bound = 1 - 0.05 ** (1 / m)
        return Share(k, n, m, 0.0 if k == 0 else 1 - bound, bound if k == 0 else 1.0)
    p, one_each = k / n, 1 - 0.05 ** (1 / m)
    if m > 1:
        between = m / (m - 1) * sum((c[0] - p * c[1]) ** 2 for c in totals.values()) / n**2
        effective = min(n, max(m, p * (1 - p) / between if between > 0 else n))
    else:
        effective = 1
    low, high = wilson(p, effective)
    # A few in one cluster say no more about the others than none does: never narrower than for none, or for all.
    return Share(k, n, m, min(low, 1 - one_each), max(high, one_each))


def wilson(p: float, n: float) -> tuple[float, float]:
    """Wilson's score interval for a share `p` of `n` observations, `n` need not be whole."""
    centre, half = p + Z**2 / (2 * n), Z * sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    return max(0.0, (centre - half) / (1 + Z**2 / n)), min(1.0, (centre + half) / (1 + Z**2 / n))
