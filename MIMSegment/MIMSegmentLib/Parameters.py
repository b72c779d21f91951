from typing import Annotated

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper


@parameterNodeWrapper
class Parameters:
    """What the user chose in the panel; saved with the scene, which may be passed on: no folders of this computer.

    Fields that a widget of the .ui names as SlicerParameterName are bound to it by `connectGui`. Lists that depend on
    the models of this computer (model, device, structures, start) are kept as text and bound by the tabs.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    modelName: str = ""
    device: str = "auto"
    # JSON: names of structures by name of the model.
    leftOutStructures: str = ""
    quick: bool = False
    reducedPrecision: bool = False
    wholeSequence: bool = False
    segmentation: vtkMRMLSegmentationNode

    exportSegNrrd: bool = True
    exportNifti: bool = False
    exportNrrd: bool = False
    exportDicom: bool = False

    caseVolume: vtkMRMLScalarVolumeNode
    caseSegmentation: vtkMRMLSegmentationNode
    startFrom: str = ""
    newModelName: str = "my-model"
    finetuneMinutes: Annotated[int, WithinRange(1, 10000)] = 60
    mirrored: bool = False
    scoreEveryCase: bool = False
    compareWithScratch: bool = False
    locatorModel: str = ""
    locatorStructure: str = ""
    trainedSide: str = ""
    ownScansMinutes: Annotated[int, WithinRange(1, 10000)] = 60

    uncertaintyOpacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.5

    pretrainName: str = "my-pretraining"
    pretrainMinutes: Annotated[int, WithinRange(1, 100000)] = 480
    pretrainMethod: str = "mae"


_kept = []


def parametersOf(node, fresh=False):
    """The parameters of a node, one object for each node.

    :param fresh: an object that has read nothing yet. The values are read when the object is made and when the node is
        modified, which it is not when a node that it refers to is loaded after it.
    """
    if fresh or not _kept or _kept[0].parameterNode is not node:
        _kept[:] = [Parameters(node)]
    return _kept[0]


def bind(parameters, widgets):
    """Bind widgets by name of their parameter; returns the function that unbinds them.

    Slicer's `disconnectGui` leaves behind the observer by which a change of the node gets into the widgets: each one
    makes every change slower, and VTK may still call it when Python has collected what it belongs to.
    """
    tags = []
    observe = parameters.AddObserver

    def addObserver(*arguments):
        tags.append(observe(*arguments))
        return tags[-1]

    # Seen by Slicer's connectParametersToGui before the method of the class.
    parameters.AddObserver = addObserver
    try:
        # Not connectGui: it returns nothing, so that its connections could never be undone.
        guiTag = parameters.connectParametersToGui(widgets)
    finally:
        del parameters.AddObserver

    def unbind():
        parameters.disconnectGui(guiTag)
        for tag in tags:
            parameters.RemoveObserver(tag)

    return unbind
