"""Payload codecs: number forms and entropy coders, what they make of a payload and take for it."""
