"""Adapting while requests flow, as a pure function: step(state, event) -> (state, actions).

event: what happens and what is asked for. estimate: one positive quantity under noise. belief: what
timings teach of tiers and links. decide: whether a switch pays. ask: when to probe. check: what
cannot have happened. state, step.
"""
