# Slicer makes the package from all installed components here.
