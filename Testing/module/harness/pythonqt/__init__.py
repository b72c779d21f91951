"""How PythonQt shows the objects of Qt: which names there are, how they are called, what comes back."""
