"""What the tabs need of widgets beyond their own signals."""


def connectPath(edit, slot):
    """Call `slot(path)` when the text of a ctkPathLineEdit changes, also when it is emptied.

    Its own signal currentPathChanged tells only of what it accepts as a path.
    """
    edit.comboBox().connect("editTextChanged(QString)", slot)


def rememberPath(edit, desktop, name, slot):
    """Show the path that is remembered on this computer, remember what it becomes, then call `slot(path)`."""

    def onChanged(path):
        desktop.remember(name, path)
        slot(path)

    edit.currentPath = desktop.recall(name)
    connectPath(edit, onChanged)


def followDeletion(selector):
    """Choose nothing once the chosen node of a qMRMLNodeComboBox is deleted: by itself it may jump to the neighbour."""

    def onRemoval(node):
        if node is selector.currentNode():
            selector.setCurrentNode(None)

    selector.connect("nodeAboutToBeRemoved(vtkMRMLNode*)", onRemoval)
