"""The widgets of CTK and MRML that the module uses, and what PythonQt adds to those of Qt."""
