"""What every kind of destination has in common."""

from node.settings.common import Name, Part, Seconds


class Delivery(Part):
    """Where derived series go, however they get there. A kind adds its own keys and a `kind` of its own."""

    name: Name
    retry_hours: Seconds = 72.0
    retry_longest_s: Seconds = 300.0  # back-off: 5 s doubling to this, ±20 %
    probe_s: Seconds = 30.0  # an unreachable peer is probed this often
    enhanced: bool = False  # where the source was Enhanced, send the enhanced form
    synthetic: bool = False  # take images of what nobody acquired, as synthetic contrast (NETWORKS D6)
