"""The layout of the testbed that the tests make: names and addresses that no user's has."""

from edgesplit.testbed.layout import Layout

LAYOUT = Layout("estest", "10.83.48")
