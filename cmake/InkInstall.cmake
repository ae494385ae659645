# cmake --install: the program, every room's library and headers, and a package for find_package(inkling).
# inkling::ink stands for all rooms.
include(CMakePackageConfigHelpers)

get_property(rooms GLOBAL PROPERTY INK_ROOMS)
add_library(ink_all INTERFACE)
target_link_libraries(ink_all INTERFACE ${rooms})
set_target_properties(ink_all PROPERTIES EXPORT_NAME ink)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/inkling)
install(TARGETS ink RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS ink_all EXPORT inkling)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/ink DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(EXPORT inkling NAMESPACE inkling:: FILE inklingTargets.cmake DESTINATION ${package_dir})
# What the rooms link, as "package::target", is what the package must find again.
foreach(room IN LISTS rooms)
  get_target_property(libraries ${room} INTERFACE_LINK_LIBRARIES)
  string(REGEX MATCHALL "[A-Za-z0-9_]+::" found "${libraries}")
  list(APPEND packages ${found})
endforeach()
list(REMOVE_DUPLICATES packages)
list(SORT packages)
string(REPLACE "::" "" INK_PACKAGES "${packages}")
configure_file(${CMAKE_CURRENT_LIST_DIR}/inklingConfig.cmake.in inklingConfig.cmake @ONLY)
write_basic_package_version_file(inklingConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/inklingConfig.cmake ${PROJECT_BINARY_DIR}/inklingConfigVersion.cmake
  DESTINATION ${package_dir})
