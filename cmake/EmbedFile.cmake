# Embeds files into a room: no data file is needed at run time, and any compiler that builds the room builds them.
#
# As an include: ink_embed(TARGET FILE SYMBOL) adds to TARGET a source with `std::string_view SYMBOL()` in namespace
# ink::assets; declare it where it is used. As a script (-P), run at build time: writes that source.
if(CMAKE_SCRIPT_MODE_FILE)
  file(READ ${INPUT} bytes HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
  string(REGEX REPLACE "(....................................................................................................)"
    "\\1\n" bytes "${bytes}")  # 20 bytes a line
  file(WRITE ${OUTPUT} "#include <string_view>
namespace ink::assets {
std::string_view ${SYMBOL}();
namespace {
// Unsigned, then seen as char: the values above 127 must not narrow.
constexpr unsigned char kBytes[] = {
${bytes}};
}  // namespace
std::string_view ${SYMBOL}() { return {reinterpret_cast<const char*>(kBytes), sizeof kBytes}; }
}  // namespace ink::assets
")
  return()
endif()

set(INK_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})
function(ink_embed target file symbol)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/embedded_${symbol}.cc)
  add_custom_command(OUTPUT ${source}
    COMMAND ${CMAKE_COMMAND} -DINPUT=${file} -DOUTPUT=${source} -DSYMBOL=${symbol} -P ${INK_EMBED_SCRIPT}
    DEPENDS ${file} ${INK_EMBED_SCRIPT}
    COMMENT "Embedding ${file}" VERBATIM)
  target_sources(${target} PRIVATE ${source})
endfunction()
