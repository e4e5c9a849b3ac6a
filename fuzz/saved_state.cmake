lapidary_fuzz(saved_state SOURCES saved_state_fuzz.cc LINK service)
