"""Merges bills of materials of single binaries into one of the release, and prints it: the same bytes each time.

usage: sbom.py VERSION FILE...
"""
from __future__ import annotations

import datetime
import json
import os
import sys
from typing import Any, Dict, List


def merge(version: str, boms: List[Dict[str, Any]]) -> Dict[str, Any]:
    """One bill: components and dependencies by reference, the binaries as parts of the product."""
    components: Dict[str, Any] = {}
    dependencies: Dict[str, List[str]] = {}
    product = f"pkg:generic/libcapsa@{version}"
    for bom in boms:
        for component in bom["components"]:
            components[component["bom-ref"]] = component
        main = bom["metadata"]["component"]["bom-ref"]
        for edge in bom.get("dependencies", []):
            ref = product if edge["ref"] == main else edge["ref"]
            dependencies.setdefault(ref, []).extend(edge.get("dependsOn", []))
    when = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tools": boms[0]["metadata"].get("tools"),
            "component": {
                "bom-ref": product, "type": "library", "name": "libcapsa", "version": version, "purl": product,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            },
        },
        "components": [components[ref] for ref in sorted(components)],
        "dependencies": [{"ref": ref, "dependsOn": sorted(set(on))} for ref, on in sorted(dependencies.items())],
    }


if __name__ == "__main__":
    texts = []
    for path in sys.argv[2:]:
        with open(path, encoding="utf-8") as file:
            texts.append(json.load(file))
    json.dump(merge(sys.argv[1], texts), sys.stdout, indent=2, sort_keys=True)
    print()
