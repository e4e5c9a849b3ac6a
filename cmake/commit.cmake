# Run by every build: writes the commit that is built into OUTPUT, and touches it only when that changes.
#   cmake -DSOURCE=… -DOUTPUT=… -P commit.cmake
cmake_minimum_required(VERSION 3.25)
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty=+ --abbrev=12 --exclude=*
  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed OR commit STREQUAL "")
  set(commit "unknown")
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#define LAPIDARY_COMMIT \"@commit@\"\n" @ONLY)
