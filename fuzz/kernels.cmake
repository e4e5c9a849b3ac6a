lapidary_fuzz(kernels SOURCES kernels_fuzz.cc LINK kernels)
