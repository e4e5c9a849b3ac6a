lapidary_fuzz(config SOURCES config_fuzz.cc LINK model)
