"""Mean waits that are known exactly, to check the simulation with."""

import math


def lognormal_moments(mean: float, sigma: float) -> tuple[float, float]:
    """E[S] and E[S^2] of a log-normal time with that mean and that standard deviation of its logarithm."""
    return mean, mean**2 * math.exp(sigma**2)


def one_reader(per_minute: float, moments: tuple[float, float]) -> float:
    """Mean wait of M/G/1, first come first served (Pollaczek 1930, Khinchine 1932)."""
    mean, square = moments
    return per_minute * square / 2 / (1.0 - per_minute * mean)


def two_classes(
    per_minute: float, moments: tuple[float, float], *, emergencies: float, sensitivity: float, specificity: float
) -> tuple[float, float, float]:
    """Mean waits of M/G/1 when flagged studies are read first, without interrupting (Cobham 1954; NETWORKS C5).

    W0 = lambda E[S^2] / 2, rho+ = rho (pi Se + (1 - pi)(1 - Sp)), W+ = W0 / (1 - rho+),
    W- = W0 / ((1 - rho+)(1 - rho)).
    returns: of the flagged W+, of the rest W-, of emergencies Se W+ + (1 - Se) W-
    """
    mean, square = moments
    load = per_minute * mean
    flagged_load = load * (emergencies * sensitivity + (1.0 - emergencies) * (1.0 - specificity))
    residual = per_minute * square / 2
    flagged = residual / (1.0 - flagged_load)
    rest = residual / ((1.0 - flagged_load) * (1.0 - load))
    return flagged, rest, sensitivity * flagged + (1.0 - sensitivity) * rest


def several_readers(per_minute: float, mean: float, readers: int) -> float:
    """Mean wait of M/M/c, first come first served: Erlang's formula C, by the recursion of B (Erlang 1917)."""
    offered = per_minute * mean
    blocked = 1.0
    for number in range(1, readers + 1):
        blocked = offered * blocked / (number + offered * blocked)
    load = offered / readers
    waits = blocked / (1.0 - load * (1.0 - blocked))
    return waits * mean / (readers * (1.0 - load))
