"""How a network runs: what an engine promises, where its bytes lie, and the backends. Imports nothing of ours."""

import os

# Since 1.29 the wheels of ONNX Runtime report to Microsoft what they run, and on what, unless this is set before the
# library is loaded. A node calls nobody whom its settings do not name: tests/integration/test_papers_live.py looks.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
