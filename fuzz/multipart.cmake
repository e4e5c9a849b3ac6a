lapidary_fuzz(multipart SOURCES multipart_fuzz.cc LINK serve)
