# What `cmake --install` brings: the library, the public headers, and the two ways to find them, for CMake and for
# pkg-config. Included by the root when WEFT_INSTALL is on.
#
# The installed tree may be moved: no file in it holds a path outside of it. A prefix holds one form of the library,
# static or shared; the form is in weftConfig.cmake and weft.pc too, because what the consumer has to link differs.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS weft EXPORT weftTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/weft DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN *.hpp)

# find_package(weft 0.1): before 1.0 each minor version may break the one before it.
set(weft_config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/weft)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/weftConfig.cmake.in ${PROJECT_BINARY_DIR}/weftConfig.cmake
                              INSTALL_DESTINATION ${weft_config_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/weftConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/weftConfig.cmake ${PROJECT_BINARY_DIR}/weftConfigVersion.cmake
        DESTINATION ${weft_config_dir})
install(EXPORT weftTargets NAMESPACE weft:: DESTINATION ${weft_config_dir})

# weft.pc. Its prefix is found from where it lies, unless the directories below the prefix were given as absolute paths.
set(weft_pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR})
  set(weft_pc_prefix ${CMAKE_INSTALL_PREFIX})
else()
  file(RELATIVE_PATH weft_pc_up /${weft_pc_dir} /)
  string(REGEX REPLACE "/$" "" weft_pc_prefix "\${pcfiledir}/${weft_pc_up}")
endif()
foreach(dir IN ITEMS LIBDIR INCLUDEDIR)
  set(weft_pc_${dir} ${CMAKE_INSTALL_${dir}})
  cmake_path(ABSOLUTE_PATH weft_pc_${dir} BASE_DIRECTORY "\${prefix}")
endforeach()
set(weft_pc_dl ${CMAKE_DL_LIBS})
list(TRANSFORM weft_pc_dl PREPEND -l)
configure_file(${PROJECT_SOURCE_DIR}/cmake/weft.pc.in ${PROJECT_BINARY_DIR}/weft.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/weft.pc DESTINATION ${weft_pc_dir})
