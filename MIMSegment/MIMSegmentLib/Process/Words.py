"""The panel's words for what the backend says: a sentence, a remedy and an action for each of its codes.

The backend speaks to whoever types commands. Its own sentence and remedy are kept where they hold none of them, since
they name the file, the number, or what there is to choose from.
"""

import re

from slicer.i18n import tr as _

from MIMSegmentLib.Process.Sentences import Words, sentences

COMMAND_WORDS = re.compile(r"(^|[\s(])--?[a-z]|`|\bmimseg\b|\bpip\b|\bconda\b|\[train\]|CPU index|\bstdin\b")


def hasCommandWords(text):
    """True if a text speaks of the command line."""
    return COMMAND_WORDS.search(text) is not None


def inPanelWords(code, message, hint=""):
    """`(message, hint)` as the panel says them.

    :param code: of the backend's error or warning; "" for what the panel says itself.
    """
    words = wordsOf(code)
    if words is None:
        if not code:
            return message, hint
        words = Words(_("The computation cannot go on."), _("See the log for details."))
    return _clean(message) or words.sentence, _clean(hint) or words.remedy


def _clean(text):
    return "" if hasCommandWords(text) else text


def warningInPanelWords(code, message):
    """A warning as the panel says it."""
    if not hasCommandWords(message):
        return message
    words = wordsOf(code)
    return words.sentence if words else _("The backend has a note on this run; see the log.")


def actionOf(code):
    """What a click can do about a code, "" if nothing."""
    words = wordsOf(code)
    return words.action if words else ""


def wordsOf(code):
    """The `Words` for a code, or None."""
    for codes, words in sentences():
        if code in codes.split():
            return words
    return None
