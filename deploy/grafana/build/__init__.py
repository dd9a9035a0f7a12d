"""The dashboards of deploy/grafana/dashboards, as code: `python -m deploy.grafana.build` writes them anew.

Queries stand in `queries.py`, what panels look like in `panels.py` and `colours.py`, what all dashboards have in
`boards.py`, and one file for each dashboard names its panels. The builders are those of Grafana's foundation SDK, made
from the schema of Grafana 11.6.
"""
