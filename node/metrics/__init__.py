"""Every metric of the node, by prometheus-client in its multi-process mode: the page adds up all processes.

Names start with `imaging_node_`; labels come from closed sets. What processes count is in `counted.py`; it outlives a
process that is killed. Counts of states, and what is counted once for each series, are read from the records at scrape
time: they are right whatever was killed, and whatever step ran twice.
"""

from node.metrics.counted import METRICS, Metrics, count_triage, count_verdicts
from node.metrics.exposition import Level, Spread, exposition
from node.metrics.priming import prime_receiver, prime_registrations, prime_triage, prime_web, prime_worker

__all__ = [
    "METRICS",
    "Level",
    "Metrics",
    "Spread",
    "count_triage",
    "count_verdicts",
    "exposition",
    "prime_receiver",
    "prime_registrations",
    "prime_triage",
    "prime_web",
    "prime_worker",
]
