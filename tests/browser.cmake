# The page in a real browser: Chromium or Chrome and its driver, which scripts/setup.sh --readers installs on Debian.
# Without one the test says so and counts as skipped. Not under sanitizers: the server's own tests are, and this one
# would take minutes.
include(InkHttp)
find_program(INK_PYTHON3 NAMES python3)
if(INK_HTTP_FOUND AND INK_PYTHON3 AND NOT INK_SANITIZE)
  add_test(NAME browser.page COMMAND ${INK_PYTHON3} ${CMAKE_CURRENT_SOURCE_DIR}/browser/page_test.py)
  set_tests_properties(browser.page PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600
    ENVIRONMENT "INK=$<TARGET_FILE:ink>;PYTHONDONTWRITEBYTECODE=1")
endif()
