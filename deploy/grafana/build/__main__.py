"""Writes the dashboards as JSON into deploy/grafana/dashboards, or into the folder that is given."""

import sys
from pathlib import Path

from deploy.grafana.build.boards import files

HERE = Path(__file__).resolve().parent.parent / "dashboards"


def main(folder: Path) -> None:
    """Write each dashboard to `folder`; a file that is there is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
