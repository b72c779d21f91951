class Problem(Exception):
    """Something that the user can mend: one sentence and one remedy.

    :param message: what is wrong.
    :param hint: what to do about it.
    """

    def __init__(self, message, hint=""):
        super().__init__(message)
        self.message = message
        self.hint = hint
