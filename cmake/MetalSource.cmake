# The kernels as one text for Metal's compiler, which runs when the program starts and finds no headers: the files below
# in order, each #include "ink/gpu/..." replaced by its file, with #line so that the compiler names the real places.
#
# As an include: ink_metal_source(OUTPUT) writes the text at build time. As a script (-P): writes it.
if(CMAKE_SCRIPT_MODE_FILE)
  cmake_minimum_required(VERSION 3.22)

  # Appends the file to the text. A function, for its variables: it calls itself.
  function(append path)
    file(READ ${ROOT}/${path} rest)
    if(rest MATCHES "#pragma once")
      if(path IN_LIST seen)
        return()
      endif()
      list(APPEND seen ${path})
      string(REPLACE "#pragma once" "" rest "${rest}")  # only for includes
    endif()
    string(APPEND text "#line 1 \"${path}\"\n")
    set(line 1)
    while(rest MATCHES "\n(#include \"(ink/gpu/[^\"]+)\")")
      set(include "${CMAKE_MATCH_1}")
      set(file "${CMAKE_MATCH_2}")
      string(FIND "${rest}" "\n${include}" begin)
      string(SUBSTRING "${rest}" 0 ${begin} before)
      string(LENGTH "\n${include}" length)
      math(EXPR end "${begin} + ${length}")
      string(SUBSTRING "${rest}" ${end} -1 rest)
      string(REGEX MATCHALL "\n" lines "${before}\n")
      list(LENGTH lines lines)
      math(EXPR line "${line} + ${lines}")
      string(APPEND text "${before}\n")
      if(NOT file MATCHES "^ink/gpu/emu/")  # in a branch that Metal does not read
        append(${file})
      endif()
      string(APPEND text "#line ${line} \"${path}\"")  # rest begins with the end of the include's line
    endwhile()
    string(APPEND text "${rest}")
    set(text "${text}" PARENT_SCOPE)
    set(seen "${seen}" PARENT_SCOPE)
  endfunction()

  set(text "")
  set(seen "")
  foreach(path ink/gpu/dialect.h ink/gpu/kernels/all.k.h ink/gpu/metal/matmul.metal)
    append(${path})
  endforeach()
  file(WRITE ${OUTPUT} "${text}")
  return()
endif()

set(INK_METAL_SCRIPT ${CMAKE_CURRENT_LIST_FILE})
function(ink_metal_source output)
  file(GLOB parts CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/ink/gpu/*.h ${PROJECT_SOURCE_DIR}/ink/gpu/*.def
    ${PROJECT_SOURCE_DIR}/ink/gpu/kernels/*.h ${PROJECT_SOURCE_DIR}/ink/gpu/metal/*.metal)
  add_custom_command(OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DROOT=${PROJECT_SOURCE_DIR} -DOUTPUT=${output} -P ${INK_METAL_SCRIPT}
    DEPENDS ${parts} ${INK_METAL_SCRIPT}
    COMMENT "Joining the kernels' text for Metal" VERBATIM)
endfunction()
