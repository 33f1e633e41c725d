"""Write caudex.cdx.json: the components of requirements.lock as a CycloneDX bill of materials."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Write the file; no address of a registry is in it."""
    written = subprocess.run(
        [str(Path(sys.executable).with_name("cyclonedx-py")), "requirements", "requirements.lock",
         "--pyproject", "pyproject.toml", "--output-reproducible", "--short-PURLs"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    bill = json.loads(written)
    bill["metadata"].pop("tools")
    bill.pop("dependencies")  # the lock does not say what needs what
    for component in bill["components"]:
        component.pop("externalReferences", None)
        component.pop("description")  # the lines of the lock
        component["bom-ref"] = component["purl"]
    (ROOT / "caudex.cdx.json").write_text(json.dumps(bill, indent=1) + "\n")


if __name__ == "__main__":
    main()
