"""The whole statement in the order of PS3.2 Annex N."""

from node.conformance import front, network, objects, services
from node.conformance.document import Section, contents
from node.conformance.facts import Facts
from node.dicom import codes


def statement(facts: Facts) -> str:
    """The conformance statement of a configuration, as Markdown."""
    sections = (
        front.introduction(facts),
        front.model(facts),
        services.services(facts),
        network.configuration(facts),
        network.network(facts),
        network.security(facts),
        *objects.annexes(facts),
    )
    overview = front.overview(facts)
    listed = Section(number="N.2", title="Table of Contents", text=(contents((overview, *sections)),))
    lines = [f"# DICOM Conformance Statement: {codes.PRODUCT} {facts.version}", ""]
    for section in (overview, listed, *sections):
        lines.extend(section.lines())
    return "\n".join(lines).rstrip() + "\n"
