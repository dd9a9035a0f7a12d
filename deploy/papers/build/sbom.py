"""sbom.cdx.json: CycloneDX 1.6 of the node, its packages and extras, what lies inside, networks, Debian packages."""

import hashlib
import json
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Final

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from inside import libraries, parts
from networks import Network
from packages import Package, edges
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from review import Inside, Reviewed

_LICENCES: Final = LicenseFactory()
_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "urn:imaging-node:sbom")
_PREFIX: Final = "imaging-node:"


def sbom(
    *,
    version: str,
    packages: Sequence[Package],
    wanted: Sequence[str],
    networks: Sequence[Network],
    tables: dict[str, str],
    known: Reviewed,
    locks: str,
) -> str:
    """The whole file.

    wanted: what the node itself asks for, as in pyproject.toml; its extras included
    tables: file name -> SHA-256 of what else the networks need
    locks:  `digest_of` the packages
    """
    node = Component(
        type=ComponentType.APPLICATION,
        name="imaging-node",
        version=version,
        bom_ref="imaging-node",
        description="An imaging node beside the PACS: a scan in, a labelled and traceable derived series back. "
        "Demonstration weights; not a medical device.",
        properties=_properties({"licence": "none stated: not to be handed on without its owner's word"}),
    )
    shown = {one.key: _package(one, known) for one in packages}
    models = {f"network/{one.name}": _network(one) for one in networks}
    files = [
        Component(type=ComponentType.DATA, name=name, bom_ref=f"table/{name}", hashes=[_sha256(digest)],
                  description="Table that a network needs, made from the public data of its card.")
        for name, digest in tables.items()
    ]  # fmt: skip
    system = [_debian(name, entry, known) for name, entry in known.debian.items()]
    bom = Bom(
        components=[*shown.values(), *models.values(), *files, *system],
        metadata=BomMetaData(component=node, properties=_properties({"packages-sha256": locks})),
    )
    direct = {canonicalize_name(Requirement(line).name) for line in wanted}
    top = [shown[one.key] for one in packages if one.name in direct]
    _depends(bom, node, [*top, *models.values(), *files, *system])
    graph = edges(packages, wanted)
    for one in packages:
        others = [shown[other.key] for other in packages if other.name in graph[one.name] and _serves(other, one)]
        _depends(bom, shown[one.key], others)
    written = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string()
    return _finished(json.loads(written), networks)


def _depends(bom: Bom, one: Component, others: Iterable[Component]) -> None:
    bom.dependencies.add(Dependency(one.bom_ref, [Dependency(other.bom_ref) for other in others]))


def _serves(other: Package, one: Package) -> bool:
    """Whether `one` gets this package of that name: where there are two, that of its own extra."""
    return not other.extras or bool(set(other.extras) & set(one.extras))


def _package(one: Package, known: Reviewed) -> Component:
    said = {
        "extra": ", ".join(one.extras),
        "installed-by": "every node" if not one.extras else "only with the extra",
        "remark": known.remark(one),
        "shared-libraries": ", ".join(libraries(one)),
    }
    return Component(
        type=ComponentType.LIBRARY,
        name=one.name,
        version=one.version,
        bom_ref=one.key,
        purl=PackageURL.from_string(one.key),
        scope=ComponentScope.OPTIONAL if one.extras else ComponentScope.REQUIRED,
        licenses=[_LICENCES.make_from_string(known.licence(one))],
        external_references=[
            ExternalReference(
                type=ExternalReferenceType.DISTRIBUTION,
                url=XsUri(one.key),
                comment="SHA-256 of every file that the lock allows; pip takes no other",
                hashes=[_sha256(digest) for digest in one.hashes],
            )
        ],
        components=[_inside(part, one) for part in parts(one, known)],
        properties=_properties(said),
    )


def _inside(part: Inside, package: Package) -> Component:
    return Component(
        type=ComponentType.LIBRARY,
        name=part.name,
        version=part.version or None,
        bom_ref=f"{package.key}#inside/{part.name}@{part.version}",
        purl=PackageURL.from_string(part.purl) if part.purl else None,
        licenses=[_LICENCES.make_from_string(part.licence)] if part.licence else (),
        properties=_properties({"told-by": part.told_by}),
    )


def _network(one: Network) -> Component:
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=one.name,
        version=one.version,
        bom_ref=f"network/{one.name}",
        description=one.title,
        hashes=[_sha256(one.sha256)],
        properties=_properties({"validation-level": one.validation_level, "file": f"engines/weights/{one.name}.onnx"}),
    )


def _debian(name: str, entry: dict[str, str], known: Reviewed) -> Component:
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        bom_ref=f"pkg:deb/debian/{name}",
        purl=PackageURL(type="deb", namespace="debian", name=name),
        description=entry["what"],
        licenses=[_LICENCES.make_from_string(known.known(entry["licence"], name))],
        properties=_properties({"installed-by": "the system, which chooses the version and brings its updates"}),
    )


def _sha256(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)


def _properties(said: dict[str, str]) -> list[Property]:
    return [Property(name=_PREFIX + name, value=value) for name, value in said.items() if value]


def _finished(raw: dict[str, Any], networks: Sequence[Network]) -> str:
    """With model cards, which the library (11.12) does not know, no time, and a serial number of the content."""
    del raw["metadata"]["timestamp"], raw["serialNumber"]
    cards = {f"network/{one.name}": _card(one) for one in networks}
    for component in raw["components"]:
        if card := cards.get(component["bom-ref"]):
            component["modelCard"] = card
    raw["serialNumber"] = uuid.uuid5(_NAMESPACE, json.dumps(raw, sort_keys=True)).urn
    return json.dumps(raw, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _card(one: Network) -> dict[str, Any]:
    """CycloneDX 1.6, modelCard."""
    return {
        "modelParameters": {
            "datasets": [
                {
                    "type": "dataset",
                    "name": data.item,
                    "description": f"{data.used_for}; source: {data.source}; licence: {data.licence}",
                }
                for data in one.datasets
            ],
            "inputs": [{"format": text} for text in one.inputs],
            "outputs": [{"format": text} for text in one.outputs],
        },
        "quantitativeAnalysis": {
            "performanceMetrics": [
                {
                    "type": f"{figure['name']}, wanted {figure['wanted']}: {'met' if figure['passed'] else 'missed'}",
                    "value": str(figure["value"]),
                    **_interval(figure),
                }
                for figure in one.figures
            ]
        },
        "considerations": {
            "useCases": ["Demonstration and research. Not for diagnosis or for replacing an acquisition."],
            "technicalLimitations": list(one.limits),
        },
    }


def _interval(figure: dict[str, Any]) -> dict[str, Any]:
    if figure.get("low") is None or figure.get("high") is None:
        return {}
    return {"confidenceInterval": {"lowerBound": str(figure["low"]), "upperBound": str(figure["high"])}}


def digest_of(packages: Iterable[Package]) -> str:
    """SHA-256 over what the locks say of these packages: names, versions, digests of their files."""
    said = [[one.name, one.version, *one.hashes] for one in packages]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()
