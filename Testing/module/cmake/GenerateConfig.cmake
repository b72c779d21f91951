# What Slicer writes into the extension's description; an unset variable is an error here.
foreach(_name IN ITEMS HOMEPAGE CONTRIBUTORS DESCRIPTION ICONURL SCREENSHOTURLS DEPENDS)
  if(NOT EXTENSION_${_name})
    message(FATAL_ERROR "EXTENSION_${_name} is not set")
  endif()
  file(APPEND "${CMAKE_BINARY_DIR}/description.txt" "${_name} ${EXTENSION_${_name}}\n")
endforeach()
