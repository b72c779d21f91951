# Stand-in for the SlicerConfig.cmake of a Slicer build tree, for Testing/module/extension/test_cmake.py.
# It defines what an extension of scripted modules uses and nothing else, so that an unknown macro or variable fails.
# Like Slicer's own macros it refuses listed files that do not exist, and copies each file to
# "destination/relative path" in the build tree and in the package.

set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/GenerateConfig.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/PackExtension.cmake")
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR "lib/Slicer-5.12/qt-scripted-modules")
