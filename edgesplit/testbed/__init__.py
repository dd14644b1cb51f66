"""Several hosts on one Linux machine: namespaces, a bridge, sshd. Needs root; no torch, no Ray.

It makes what `ray up` expects of a real host, so that the same cluster.yaml runs on it. It touches
only what it made: everything is written into its state before it is made.
"""
