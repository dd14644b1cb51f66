"""The demo: real photographs through three models while the edge-cloud link breaks down and heals.

`edgesplit demo` runs it; everything about tiers and links is emulated, energy is modelled.
"""
