import weakref

import slicer


class SceneClosing:
    """Tells when a scene is about to be closed, without keeping alive who wants to hear of it.

    :param scene: a vtkMRMLScene.
    :param method: a bound method without arguments; once its object is gone, nothing is called any more.
    """

    def __init__(self, scene, method):
        self._scene = scene
        reference = weakref.WeakMethod(method)
        self._observer = scene.AddObserver(
            slicer.vtkMRMLScene.StartCloseEvent, lambda _caller, _event: (reference() or (lambda: None))()
        )

    def stop(self):
        """Observe the scene no more; may be called again."""
        if self._observer is not None:
            self._scene.RemoveObserver(self._observer)
            self._observer = None
