import logging

from slicer.i18n import tr as _


class Problem(Exception):
    """Something that the user can mend: one sentence and one remedy.

    :param message: what is wrong.
    :param hint: what to do about it.
    """

    def __init__(self, message, hint=""):
        super().__init__(message)
        self.message = message
        self.hint = hint


def asProblem(fault, sentence=""):
    """A fault that nobody foresaw, in a sentence that can be shown; it is logged. A Problem is one already.

    :param sentence: with a place for {fault}.
    """
    if isinstance(fault, Problem):
        return fault
    logging.error("An unexpected fault", exc_info=fault)
    sentence = sentence or _("This could not be done ({fault}).")
    return Problem(
        sentence.format(fault=str(fault) or type(fault).__name__), _("See the log of Slicer (View / Error Log).")
    )
