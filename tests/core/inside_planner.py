"""What tests count inside the planner: the one module here that knows private names of core's."""

from edgesplit.core.planner import limited


def counted_extensions(monkeypatch):
    """A list that gets how many labels each extension of a label gave."""
    extensions, extended = [], limited._LabelSearch._extended

    def counted(search, labels, label, hop):
        extensions.append(len(label))
        return extended(search, labels, label, hop)

    monkeypatch.setattr(limited._LabelSearch, "_extended", counted)
    return extensions
