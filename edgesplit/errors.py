"""The project's one error tree. Every message says what was given, what was expected, what to do.

Errors of Ray, sockets, torch.export and friends are translated into these at one place each.
"""


class EdgeSplitError(Exception):
    """Root of every error that EdgeSplit raises on purpose.

    Example:
        >>> try:
        ...     Goal(latency_limit_s=0)
        ... except EdgeSplitError as error:
        ...     print(error)
        latency_limit_s must be seconds above 0 or None, given 0
    """


class InputError(EdgeSplitError, ValueError):
    """What was passed to the model cannot be its input; nothing was sent."""


class PictureError(InputError):
    """A picture that cannot be read: missing, broken, too large, or none at all."""


class GoalError(EdgeSplitError, ValueError):
    """A goal that cannot be meant: weights, limit or constraints are out of range."""


class PlanError(EdgeSplitError, ValueError):
    """A plan that does not fit its graph or its tiers, or text that is not a plan."""


class ProfileError(EdgeSplitError, ValueError):
    """Tiers, links or power figures that contradict each other."""


class EventError(EdgeSplitError, ValueError):
    """An event that cannot have happened: time running backwards, a negative duration."""


class EventFileError(EdgeSplitError, ValueError):
    """A file that is no recording of a control loop, or one that cannot be played."""


class UnknownNameError(EdgeSplitError, LookupError):
    """A tier, model or policy of that name does not exist here."""


class ConfigError(EdgeSplitError, ValueError):
    """A settings file or option that cannot be read."""


class MeterError(EdgeSplitError):
    """A meter that is absent, cannot be read, or contradicts itself. fix: what mends it."""

    def __init__(self, reason: str, fix: str = "") -> None:
        super().__init__(f"{reason}; {fix}" if fix else reason)
        self.reason, self.fix = reason, fix

    def __reduce__(self) -> tuple[type["MeterError"], tuple[str, str]]:
        return (type(self), (self.reason, self.fix))


class ExportError(EdgeSplitError):
    """torch.export could not capture the model; the message holds torch's own reason."""


class RuntimeUnavailableError(EdgeSplitError):
    """A runtime that is not installed here or cannot run these layers; holds what, why, the fix."""


class InexactRuntimeError(RuntimeUnavailableError):
    """A runtime whose results lie farther from eager torch's than is allowed."""


class HeadroomError(RuntimeUnavailableError, MemoryError):
    """A range is not prepared now, since too little memory would be left free on its host."""


class NotInstalledError(EdgeSplitError, ImportError):
    """Something of EdgeSplit was used that needs an extra which is not installed here."""


class ClusterError(EdgeSplitError):
    """The Ray cluster cannot be started, joined or lacks a tier."""


class TestbedError(EdgeSplitError):
    """The testbed of namespaces cannot do what was asked; holds what the system said."""

    __test__ = False  # pytest would collect it by its name


class WireError(EdgeSplitError):
    """A frame that is malformed, too large or of another version."""


class TransportSecurityError(EdgeSplitError, ConnectionError):
    """A peer of the data plane that has not shown that it holds the session's key."""


class RequestError(EdgeSplitError):
    """A tier refused a request or failed while running it. reason: the refusal's, in one word."""

    def __init__(self, message: str, reason: str = "failed") -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type["RequestError"], tuple[str, str]]:
        return (type(self), (str(self), self.reason))


class DeadlineExceeded(RequestError, TimeoutError):
    """No answer within the request's time limit; the work was dropped where it was."""


class ClosedError(EdgeSplitError):
    """Used after close()."""
