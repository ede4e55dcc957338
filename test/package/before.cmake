# What a parent project has before weft is part of it; after.cmake compares.
foreach(property IN ITEMS COMPILE_OPTIONS COMPILE_DEFINITIONS INCLUDE_DIRECTORIES LINK_OPTIONS LINK_LIBRARIES)
  get_directory_property(before_${property} ${property})
endforeach()
set(watched CMAKE_CXX_STANDARD CMAKE_CXX_STANDARD_REQUIRED CMAKE_CXX_EXTENSIONS CMAKE_CXX_FLAGS CMAKE_ASM_FLAGS
            CMAKE_POSITION_INDEPENDENT_CODE CMAKE_CXX_VISIBILITY_PRESET CMAKE_BUILD_TYPE BUILD_SHARED_LIBS)
foreach(name IN LISTS watched)
  set(before_${name} "${${name}}")
endforeach()
