import os

import qt

# In pixels: a tab that was never shown has no width of its own yet.
LEAST_WIDTH = 200


class RunPicture:
    """Shows a picture that a run writes, again whenever it was written anew.

    :param label: a QLabel.
    """

    def __init__(self, label):
        self._label = label
        self._written = None

    def show(self, path):
        """Show the picture if there is one and it is new; returns True if it is shown then."""
        if not path or not os.path.isfile(path):
            return False
        written = (path, os.path.getmtime(path))
        if written == self._written:
            return True
        picture = qt.QPixmap(path)
        if picture.isNull():
            return False
        self._written = written
        width = max(LEAST_WIDTH, min(self._label.width, picture.width()))
        self._label.setPixmap(picture.scaledToWidth(width, qt.Qt.SmoothTransformation))
        return True
