# A folder is a library, a library links exactly the folders below it (tools/check_layers.py checks the includes too).

# lapidary_library(NAME SOURCES ... LINK ...): a static library; includes are written from src/ ("base/result.h") and from
# src/runtime and src/app ("formats/gguf.h").
function(lapidary_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK" ${ARGN})
  add_library(lapidary_${name} STATIC ${arg_SOURCES})
  add_library(${name} ALIAS lapidary_${name})
  target_include_directories(lapidary_${name} PUBLIC
    ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/src/runtime ${PROJECT_SOURCE_DIR}/src/app)
  target_link_libraries(lapidary_${name} PUBLIC ${arg_LINK} PRIVATE lapidary_warnings)
endfunction()

# lapidary_test(NAME SOURCES ... LINK ...): a doctest program, run by ctest from the root of the source tree.
function(lapidary_test name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK" ${ARGN})
  if(NOT LAPIDARY_TESTS)
    return()
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LINK} lapidary_doctest_main lapidary_warnings)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
endfunction()

# lapidary_fuzz(NAME SOURCES ... LINK ...): a source with LLVMFuzzerTestOneInput. Under the preset `fuzz` it becomes a
# libFuzzer program; elsewhere a test that replays its corpus, fuzz/corpus/NAME/*.
function(lapidary_fuzz name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK" ${ARGN})
  if(LAPIDARY_FUZZ)
    add_executable(fuzz_${name} ${arg_SOURCES})
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_link_libraries(fuzz_${name} PRIVATE ${arg_LINK} lapidary_warnings)
  elseif(LAPIDARY_TESTS)
    add_executable(replay_${name} ${arg_SOURCES} ${PROJECT_SOURCE_DIR}/fuzz/replay_main.cc)
    target_link_libraries(replay_${name} PRIVATE ${arg_LINK} lapidary_warnings)
    add_test(NAME replay_${name} COMMAND replay_${name} ${PROJECT_SOURCE_DIR}/fuzz/corpus/${name})
  endif()
endfunction()
