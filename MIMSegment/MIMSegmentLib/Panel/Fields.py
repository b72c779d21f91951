"""What the tabs need of widgets beyond their own signals."""


def connectPath(edit, slot):
    """Call `slot(path)` when the text of a ctkPathLineEdit changes, also when it is emptied.

    Its own signal currentPathChanged tells only of what it accepts as a path.
    """
    edit.comboBox().connect("editTextChanged(QString)", slot)
