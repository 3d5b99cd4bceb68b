"""The errors of snipjit: a message says what to change; IR errors show the IR around the fault."""


class SnipjitError(Exception):
    """Base of every error that snipjit raises on purpose."""


class UnsupportedError(SnipjitError):
    """Valid, but not compiled by this version; a backend keeps the original nodes."""


class SlowerError(UnsupportedError):
    """Valid, and faster as it is: PyTorch has a better way for it."""


class ScratchpadError(UnsupportedError):
    """The buffers of a kernel are too large for its scratchpad: smaller blocks may do."""


class InputError(SnipjitError, ValueError):
    """A call's tensors do not fit the compiled program (rank, size, dtype, device)."""


class IndexRangeError(InputError, IndexError):
    """A call's indices are no rows of the tensor that they are of: eager's error for the same."""


class VerificationError(SnipjitError):
    """An IR breaks a rule of its stage: a bug in a pass, or in hand-edited text."""


class ParseError(SnipjitError):
    """Text is not in the printed syntax of the IR."""


class OptionError(SnipjitError, ValueError):
    """An unknown option, or a value it does not take."""


class LinkError(SnipjitError):
    """Object code that cannot be loaded."""
