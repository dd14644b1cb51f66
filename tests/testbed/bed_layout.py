"""The layout of the testbed that the tests make: names and addresses that no user's has."""

import json
import sys
from pathlib import Path

from edgesplit.testbed.layout import Layout

LAYOUT = Layout("estest", "10.83.48")


def nodes_on(bed, host):
    """{name: [name by its label, role, address]} of the nodes, as Ray on that host tells them."""
    script = str(Path(__file__).with_name("nodes_seen.py"))
    printed = bed.run(host, [sys.executable, script], 120.0)
    return json.loads(printed.splitlines()[-1])
