import os
import shutil
import sys

PACKAGE = "mimseg"
# Python of this process must not leak into another interpreter.
PYTHON_VARIABLES = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONEXECUTABLE", "PYTHONNOUSERSITE")


class Backend:
    """Which Python runs the `mimseg` backend, where the backend lies, and with which environment.

    :param moduleFolder: folder of MIMSegment.py; the backend is looked for below and beside it.
    :param interpreter: path of the user's own Python, or empty for the one of 3D Slicer.
    :param startupEnvironment: returns the environment from before Slicer's launcher.
    """

    def __init__(self, moduleFolder=None, interpreter="", startupEnvironment=None):
        self.moduleFolder = moduleFolder or _moduleFolder()
        self.interpreter = interpreter
        self._startupEnvironment = startupEnvironment or _slicerStartupEnvironment

    @property
    def usesOwnInterpreter(self):
        """True if the user chose an interpreter."""
        return bool(self.interpreter)

    def python(self):
        """Path of the interpreter."""
        if self.interpreter:
            return self.interpreter
        # `sys.executable` inside 3D Slicer may be the application itself.
        return shutil.which("PythonSlicer") or sys.executable

    def sourceFolder(self):
        """Folder to put on PYTHONPATH, or None if the backend is neither bundled nor beside this checkout."""
        for parts in (
            ("Resources", "MIMSegment", "backend"),
            ("Resources", "backend"),
            ("MIMSegmentLib", "backend"),
            ("..", "backend", "src"),
        ):
            folder = os.path.normpath(os.path.join(self.moduleFolder, *parts))
            if os.path.isfile(os.path.join(folder, PACKAGE, "__init__.py")):
                return folder
        return None

    def environment(self):
        """Environment variables of the backend's process."""
        source = self.sourceFolder()
        if self.interpreter:
            variables = dict(self._startupEnvironment())
            for name in PYTHON_VARIABLES:
                variables.pop(name, None)
            paths = [source] if source else []
        else:
            variables = dict(os.environ)
            paths = [path for path in (source, variables.get("PYTHONPATH")) if path]
        if paths:
            variables["PYTHONPATH"] = os.pathsep.join(paths)
        # File names in messages must survive whatever the console's code page is.
        variables.update(PYTHONUTF8="1", PYTHONIOENCODING="utf-8", PYTHONUNBUFFERED="1", MPLBACKEND="Agg")
        # Nothing is imported from the working directory.
        variables["PYTHONSAFEPATH"] = "1"
        return variables

    def command(self, arguments):
        """`(program, arguments, environment)` that run `mimseg` with `arguments`."""
        return self.python(), ["-m", PACKAGE, *arguments], self.environment()

    def pythonCommand(self, arguments):
        """`(program, arguments, environment)` that run the same interpreter with `arguments`, e.g. `-m pip`."""
        return self.python(), list(arguments), self.environment()

    def problem(self):
        """Why the backend cannot be started, as `(message, hint)`, or None if nothing speaks against it."""
        from slicer.i18n import tr as _

        if self.interpreter and not os.path.isfile(self.interpreter):
            return (
                _("The chosen Python {path} does not exist.").format(path=self.interpreter),
                _("Choose another one in the tab 'Computer', or leave the field empty to use the one of 3D Slicer."),
            )
        if self.sourceFolder() is None and not self.interpreter:
            return (
                _("The computing part of MIMSegment is missing."),
                _("Install the extension MIMSegment again."),
            )
        return None

    @staticmethod
    def dataFolder():
        """Folder for what the user keeps: models, training cases, pre-training runs (it need not exist).

        The same as in `mimseg.bundle.locations`, so that models trained here are found by name.
        """
        home = os.path.expanduser("~")
        if sys.platform == "win32":
            base = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
        elif sys.platform == "darwin":
            base = os.path.join(home, "Library", "Application Support")
        else:
            base = os.environ.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")
        return os.path.join(base, PACKAGE)

    @classmethod
    def modelsFolder(cls):
        """Folder of the user's own models."""
        chosen = os.environ.get("MIMSEG_MODELS", "").strip()
        return os.path.abspath(os.path.expanduser(chosen)) if chosen else os.path.join(cls.dataFolder(), "models")


def _moduleFolder():
    folder = os.path.abspath(__file__)
    for _level in ("Process", "MIMSegmentLib", "the module"):
        folder = os.path.dirname(folder)
    return folder


def _slicerStartupEnvironment():
    import slicer

    return slicer.util.startupEnvironment()
