"""Ray: placement, life and supervision of the tiers' actors. The only folder that imports Ray."""
