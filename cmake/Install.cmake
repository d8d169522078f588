# Install rules: GNU directories, quarry.pc, QuarryConfig.cmake, header, manual pages.
install(TARGETS quarry_shared quarry_static EXPORT QuarryTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(QUARRY_COMMAND)
  install(TARGETS quarry_command RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(DIRECTORY include/quarry DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

set(config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Quarry)
install(EXPORT QuarryTargets NAMESPACE Quarry:: DESTINATION ${config_dir})
configure_package_config_file(cmake/QuarryConfig.cmake.in ${PROJECT_BINARY_DIR}/QuarryConfig.cmake
  INSTALL_DESTINATION ${config_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/QuarryConfigVersion.cmake COMPATIBILITY SameMajorVersion)
install(FILES ${PROJECT_BINARY_DIR}/QuarryConfig.cmake ${PROJECT_BINARY_DIR}/QuarryConfigVersion.cmake
  DESTINATION ${config_dir})

# Written when it is installed: `cmake --install --prefix` may name another prefix than the one that was configured.
install(CODE "set(pc_libdir \"${CMAKE_INSTALL_LIBDIR}\")\nset(pc_includedir \"${CMAKE_INSTALL_INCLUDEDIR}\")
set(PROJECT_DESCRIPTION \"${PROJECT_DESCRIPTION}\")\nset(PROJECT_VERSION ${PROJECT_VERSION})")
install(CODE [[
set(pc_prefix "${CMAKE_INSTALL_PREFIX}")
get_filename_component(pc_prefix "${pc_prefix}" ABSOLUTE)
foreach(dir pc_libdir pc_includedir)
  if(NOT IS_ABSOLUTE "${${dir}}")
    set(${dir} "\${prefix}/${${dir}}")
  endif()
endforeach()]])
install(CODE "configure_file(\"${PROJECT_SOURCE_DIR}/cmake/quarry.pc.in\" \"${PROJECT_BINARY_DIR}/quarry.pc\" @ONLY)")
install(FILES ${PROJECT_BINARY_DIR}/quarry.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# docs/man/NAME.SECTION.scd -> NAME.SECTION, when scdoc is there.
find_program(SCDOC scdoc)
file(GLOB man_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/man/*.scd)
if(SCDOC)
  foreach(source IN LISTS man_sources)
    get_filename_component(page ${source} NAME_WLE)
    string(REGEX REPLACE ".*\\." "" section ${page})
    set(output ${PROJECT_BINARY_DIR}/share/man/man${section}/${page})
    file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/share/man/man${section})
    add_custom_command(OUTPUT ${output} COMMAND ${SCDOC} < ${source} > ${output} DEPENDS ${source} VERBATIM)
    list(APPEND man_pages ${output})
    install(FILES ${output} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
  endforeach()
  add_custom_target(man ALL DEPENDS ${man_pages})
endif()

# gdb's commands: beside the pages; and where a gdb of the same prefix loads them by itself as soon as it sees the library:
# under the library's path, which is known when it is installed, as above.
set(gdb_script ${PROJECT_SOURCE_DIR}/tools/gdb/quarry-gdb.py)
configure_file(${gdb_script} ${PROJECT_BINARY_DIR}/share/quarry/quarry-gdb.py COPYONLY)
install(FILES ${gdb_script} DESTINATION ${CMAKE_INSTALL_DATADIR}/quarry)
install(CODE [[string(REPLACE "\${prefix}" "${pc_prefix}" installed_libdir "${pc_libdir}")]])
install(FILES ${PROJECT_SOURCE_DIR}/tools/gdb/auto-load.py RENAME $<TARGET_FILE_NAME:quarry_shared>-gdb.py
  DESTINATION ${CMAKE_INSTALL_DATADIR}/gdb/auto-load\${installed_libdir})
