# quarry_page(NAME HTML file CSS file... SCRIPT file): one self-contained HTML file, share/quarry/NAME.html, from ES modules.
# Run as a script (cmake -P) this file also is the last step: it puts style and script into the page.
if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  cmake_minimum_required(VERSION 3.25)
  file(READ ${HTML} page)
  file(READ ${SCRIPT} script)
  string(REPLACE "|" ";" CSS "${CSS}")
  foreach(file IN LISTS CSS)
    file(READ ${file} text)
    string(APPEND style "${text}")
  endforeach()
  string(REPLACE "@STYLE@" "${style}" page "${page}")
  string(REPLACE "@SCRIPT@" "${script}" page "${page}")
  file(WRITE ${OUTPUT} "${page}")
  return()
endif()

find_program(ESBUILD esbuild)
if(NOT ESBUILD)
  message(NOTICE "No esbuild: the web pages (viewer/) are not built, and `quarry map` will not find its page.")
endif()

function(quarry_page name)
  if(NOT ESBUILD)
    return()
  endif()
  cmake_parse_arguments(page "" "HTML;SCRIPT" "CSS" ${ARGN})
  list(TRANSFORM page_CSS PREPEND ${PROJECT_SOURCE_DIR}/)
  set(html ${PROJECT_SOURCE_DIR}/${page_HTML})
  set(script ${PROJECT_BINARY_DIR}/viewer/${name}.js)
  set(output ${PROJECT_BINARY_DIR}/share/quarry/${name}.html)
  file(GLOB_RECURSE modules CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/viewer/*.js)
  list(FILTER modules EXCLUDE REGEX "/viewer/test/|/node_modules/")
  list(JOIN page_CSS "|" css)
  add_custom_command(OUTPUT ${output}
    COMMAND ${ESBUILD} ${PROJECT_SOURCE_DIR}/${page_SCRIPT} --bundle --minify --charset=utf8 --format=iife --target=chrome100,firefox100,safari16
      --log-level=warning --outfile=${script}
    COMMAND ${CMAKE_COMMAND} -D HTML=${html} "-DCSS=${css}" -D SCRIPT=${script} -D OUTPUT=${output}
      -P ${PROJECT_SOURCE_DIR}/cmake/Page.cmake
    DEPENDS ${modules} ${html} ${page_CSS} ${PROJECT_SOURCE_DIR}/cmake/Page.cmake VERBATIM)
  add_custom_target(page_${name} ALL DEPENDS ${output})
  install(FILES ${output} DESTINATION ${CMAKE_INSTALL_DATADIR}/quarry)
endfunction()
