# Only where it is meant to fail: replayed without a sanitizer it would prove nothing.
if(LAPIDARY_FUZZ)
  lapidary_fuzz(canary SOURCES canary_fuzz.cc)
endif()
