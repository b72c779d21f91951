import logging


class Signal:
    """A signal in plain Python: it calls the connected functions in the order of their connection.

    As with Qt, an exception in one of them is logged and never reaches the emitter or the others.
    """

    def __init__(self, name=""):
        self._name = name
        self._slots = []

    def connect(self, slot):
        """Call `slot` whenever the signal is emitted; twice if it is connected twice."""
        if not callable(slot):
            raise TypeError(f"{slot!r} cannot be called")
        self._slots.append(slot)

    def emit(self, *values):
        """Call the slots with `values`; one that is connected meanwhile is not called yet."""
        for slot in tuple(self._slots):
            try:
                slot(*values)
            except Exception:
                logging.exception(f"A function connected to the signal {self._name or '?'} failed")
